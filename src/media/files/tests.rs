//! Files in a directory. Those of a bucket are tested against an S3 server, in the integration tests.

use super::*;

fn directory() -> (tempfile::TempDir, Files) {
    let dir = tempfile::tempdir().unwrap();
    let config = FilesConfig::Directory { dir: dir.path().join("new"), egress_dir: "/out/".into() };
    let files = Files::open(&config).unwrap();
    (dir, files)
}

async fn text(files: &Files, file: &str, range: Range<u64>) -> Option<String> {
    let pieces: Vec<Bytes> = files.read(file, range).await.unwrap()?.try_collect().await.unwrap();
    Some(String::from_utf8(pieces.concat()).unwrap())
}

#[tokio::test]
async fn a_file_is_seen_read_in_part_and_deleted_twice() {
    let (dir, files) = directory();
    assert_eq!(files.look("r-1.mp4").await, Ok(None));
    std::fs::write(dir.path().join("new/r-1.mp4"), "0123456789").unwrap();
    assert_eq!(files.look("r-1.mp4").await.unwrap().unwrap().bytes, 10);
    assert_eq!(text(&files, "r-1.mp4", 2..5).await.as_deref(), Some("234"));
    assert_eq!(text(&files, "r-1.mp4", 0..10).await.as_deref(), Some("0123456789"));
    assert_eq!(files.delete("r-1.mp4").await, Ok(()));
    assert_eq!(files.delete("r-1.mp4").await, Ok(()), "it is gone: that is what was wanted");
    assert_eq!(text(&files, "r-1.mp4", 0..1).await, None);
}

#[tokio::test]
async fn what_cannot_be_deleted_is_not_said_to_be() {
    let (dir, files) = directory();
    // A directory in its place: the store refuses.
    std::fs::create_dir_all(dir.path().join("new/r-1.mp4/full")).unwrap();
    assert_eq!(files.delete("r-1.mp4").await, Err(FilesAway));
}

#[tokio::test]
async fn no_name_leads_out_of_the_directory() {
    let (dir, files) = directory();
    std::fs::write(dir.path().join("secret"), "x").unwrap();
    assert_eq!(files.look("../secret").await, Ok(None));
}

#[test]
fn egress_is_told_its_own_name_of_the_directory() {
    let (_dir, files) = directory();
    assert_eq!(files.path_for_egress("r-1.mp4"), "/out/r-1.mp4");
    assert!(files.upload().is_none());
}

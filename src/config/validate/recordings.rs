//! Where recordings are kept, judged: a directory, or a bucket with its keys, or neither.

use super::{Check, given, given_secret, shown};
use crate::{
    config::{raw::RecordingArgs, settings::Recordings},
    domain::recording::RETENTION_DAYS,
    gateway::auth::Url,
    media::{FilesConfig, files::S3Config},
};

impl Check {
    pub(super) fn recordings(&mut self, args: RecordingArgs) -> Recordings {
        let days = u64::from(*RETENTION_DAYS.start())..=u64::from(*RETENTION_DAYS.end());
        let retention_days = self.number("RECORDINGS_RETENTION_DAYS", &args.recordings_retention_days, days);
        let link_secret = self.secret("RECORDINGS_LINK_SECRET", args.recordings_link_secret.clone());
        let dir = given(args.recordings_dir.clone());
        let bucket = given(args.recordings_s3_bucket.clone());
        if dir.is_some() && bucket.is_some() {
            self.wrong("RECORDINGS_DIR", "and RECORDINGS_S3_BUCKET are both set: recordings are kept in one place");
        }
        let files = match (dir, bucket) {
            (_, Some(bucket)) => self.bucket(bucket, args),
            (Some(dir), None) => {
                let egress_dir = given(args.recordings_egress_dir).unwrap_or_else(|| dir.clone());
                if !egress_dir.starts_with('/') {
                    let name = "RECORDINGS_EGRESS_DIR";
                    self.wrong(name, format!("is {}: egress needs a path that begins with /", shown(&egress_dir)));
                }
                Some(FilesConfig::Directory { dir: dir.into(), egress_dir })
            }
            (None, None) => {
                if given(args.recordings_egress_dir).is_some() {
                    self.wrong("RECORDINGS_EGRESS_DIR", "is set, but RECORDINGS_DIR is empty");
                }
                None
            }
        };
        Recordings { files, retention_days: u32::try_from(retention_days).unwrap_or(1), link_secret }
    }

    fn bucket(&mut self, bucket: String, args: RecordingArgs) -> Option<FilesConfig> {
        let endpoint = given(args.recordings_s3_endpoint);
        if let Some(url) = &endpoint
            && !Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        {
            self.wrong("RECORDINGS_S3_ENDPOINT", format!("is {}: give https://host or http://host:port", shown(url)));
        }
        let redirect = self.switch("RECORDINGS_S3_REDIRECT", &args.recordings_s3_redirect);
        let access_key = given(args.recordings_s3_access_key);
        let secret_key = given_secret(args.recordings_s3_secret_key);
        for (name, absent) in
            [("RECORDINGS_S3_ACCESS_KEY", access_key.is_none()), ("RECORDINGS_S3_SECRET_KEY", secret_key.is_none())]
        {
            if absent {
                self.wrong(name, "is empty, but RECORDINGS_S3_BUCKET is set");
            }
        }
        Some(FilesConfig::S3(S3Config {
            bucket,
            region: args.recordings_s3_region.trim().to_owned(),
            endpoint,
            access_key: access_key?,
            secret_key: secret_key?,
            prefix: given(args.recordings_s3_prefix).unwrap_or_default(),
            redirect,
        }))
    }
}

//! What docs/webhooks.md says is so: its check of the signature is run on a real delivery.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use serde_json::json;

use super::{
    hook,
    receiver::{Received, Receiver},
    telling, try_hook,
};
use crate::support::TestCluster;

fn example(language: &str) -> String {
    let guide = include_str!("../../../docs/webhooks.md");
    let (_, rest) = guide.split_once(&format!("```{language}\n")).expect("the example");
    rest.split_once("```").unwrap().0.to_owned()
}

/// What the program says when it is run with the delivery on its standard input.
fn run(program: &str, arguments: &[&str], secret: &str, received: &Received, body: &[u8]) -> Option<String> {
    let input = json!({"secret": secret, "headers": received.headers, "body": String::from_utf8_lossy(body)});
    let child = Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = child else { return None };
    child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    Some(String::from_utf8(output.stdout).unwrap().trim().to_lowercase())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_of_the_guide_take_what_is_signed_and_nothing_else() {
    let (cluster, receiver) = (telling(TestCluster::embedded()).start().await, Receiver::start().await);
    let hook = hook(&cluster, &receiver, &[]).await;
    try_hook(&cluster, &hook).await;
    let received = receiver.expect("test", |received| received.kind() == "webhook.test").await;
    let python = format!(
        "{}\nimport json, sys\nd = json.load(sys.stdin)\nprint(verify(d['secret'], d['headers'], d['body'].encode()))",
        example("python")
    );
    let node = format!(
        "{}\nimport {{ readFileSync }} from 'node:fs';\nconst d = JSON.parse(readFileSync(0));\nconsole.log(verify(d.secret, d.headers, Buffer.from(d.body)));",
        example("js")
    );
    let other = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    for (program, arguments) in
        [("python3", vec!["-c", python.as_str()]), ("node", vec!["--input-type=module", "-e", node.as_str()])]
    {
        let said = |secret: &str, body: &[u8]| run(program, &arguments, secret, &received, body);
        let Some(right) = said(&hook.secret, &received.raw) else {
            assert_ne!(program, "python3", "it is needed for the tests");
            continue;
        };
        assert_eq!(right, "true", "{program}");
        assert_eq!(said(other, &received.raw).unwrap(), "false", "{program}: by another secret");
        assert_eq!(said(&hook.secret, b"{}").unwrap(), "false", "{program}: another body");
    }
}

#[test]
fn every_event_is_in_the_guide_and_no_other() {
    let guide = include_str!("../../../docs/webhooks.md");
    for event in carillon::domain::WebhookEvent::ALL {
        assert!(guide.contains(&format!("`{}`", event.as_str())), "{}", event.as_str());
    }
}

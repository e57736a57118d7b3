//! The settings of traces.

use std::time::Duration;

use super::{refusal, settings};
use crate::trace::{Base, Sampler};

const ENDPOINT: &str = "--otel-exporter-otlp-endpoint=https://user:canary-password@collector.example:4318/";

#[test]
fn without_an_address_no_traces_are_sent_whatever_else_is_set() {
    assert!(settings(&[]).unwrap().traces.is_none());
    // Said of other things that go to a collector.
    assert!(settings(&["--otel-exporter-otlp-protocol=grpc"]).unwrap().traces.is_none());
    for off in ["--otel-sdk-disabled=true", "--otel-traces-exporter=none"] {
        assert!(settings(&[ENDPOINT, off]).unwrap().traces.is_none(), "{off}");
    }
}

#[test]
fn an_address_is_enough_and_traces_go_below_it() {
    let settings = settings(&[ENDPOINT]).unwrap();
    let shown = format!("{settings:?}");
    assert!(!shown.contains("canary-password"), "{shown}");
    let traces = settings.traces.unwrap();
    assert_eq!((traces.endpoint.path(), traces.endpoint.port()), ("/v1/traces", Some(4318)));
    assert_eq!((traces.timeout, traces.sampler), (Duration::from_secs(10), Sampler::default()));
    assert_eq!(traces.resource, [("service.name".to_owned(), "carillon".to_owned())]);
}

#[test]
fn what_is_said_of_traces_alone_comes_before_what_is_said_of_all() {
    let own = "--otel-exporter-otlp-traces-endpoint=http://127.0.0.1:1/own?x=y";
    let flags = [
        ENDPOINT,
        own,
        "--otel-exporter-otlp-protocol=grpc",
        "--otel-exporter-otlp-traces-protocol=http/protobuf",
        "--otel-exporter-otlp-headers=a=1,b=canary%20two",
        "--otel-exporter-otlp-timeout=500",
        "--otel-exporter-otlp-traces-timeout=700",
        "--otel-resource-attributes=service.name=other,deployment.environment.name=tests",
        "--otel-traces-sampler=traceidratio",
        "--otel-traces-sampler-arg=0.25",
    ];
    let settings = settings(&flags).unwrap();
    let shown = format!("{settings:?}");
    assert!(!shown.contains("canary"), "{shown}");
    let traces = settings.traces.unwrap();
    assert_eq!(traces.endpoint.as_str(), "http://127.0.0.1:1/own?x=y");
    assert_eq!(traces.headers["b"], "canary two");
    assert_eq!(traces.timeout, Duration::from_millis(700));
    assert_eq!(traces.resource[0], ("service.name".to_owned(), "other".to_owned()));
    assert_eq!(traces.sampler, Sampler { base: Base::Ratio(0.25), parent_based: false });
}

#[test]
fn what_is_wrong_is_said_at_the_start_without_what_may_be_secret() {
    let wrong = [
        ("--otel-exporter-otlp-protocol=grpc", "is \"grpc\": traces are sent by http/protobuf only"),
        ("--otel-exporter-otlp-traces-protocol=http/json", "by http/protobuf only"),
        ("--otel-exporter-otlp-traces-endpoint=canary-host:4318", "is not http://host:port"),
        ("--otel-exporter-otlp-headers=canary", "its value is not shown"),
        ("--otel-exporter-otlp-timeout=0", "from 100 to 60000"),
        ("--otel-traces-sampler=jaeger_remote", "parentbased_traceidratio"),
        ("--otel-traces-sampler-arg=1.5", "a share from 0 to 1"),
        ("--otel-traces-exporter=zipkin", "give otlp or none"),
        ("--otel-resource-attributes=x", "name=value"),
    ];
    for (flag, why) in wrong {
        let said = refusal(&[ENDPOINT, flag]);
        assert!(said.starts_with("OTEL_") && said.contains(why) && !said.contains("canary"), "{flag}: {said}");
    }
}

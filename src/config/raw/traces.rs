//! The settings of traces, by the names that OpenTelemetry has given them for every program.
//!
//! https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/

use clap::Args;

use crate::secret::Secret;

/// Where traces are sent.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Traces (OpenTelemetry; without an address none are sent)")]
pub(in crate::config) struct TraceArgs {
    /// Address of a collector that takes OTLP over HTTP: http://host:4318 or https://… Traces go to /v1/traces there. It may
    /// hold a user and a password.
    #[arg(long = "otel-exporter-otlp-endpoint", env = "OTEL_EXPORTER_OTLP_ENDPOINT", hide_env_values = true)]
    #[arg(value_name = "URL")]
    pub(in crate::config) otlp_endpoint: Option<Secret>,

    /// The whole address for traces, in place of the one above.
    #[arg(long = "otel-exporter-otlp-traces-endpoint", env = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")]
    #[arg(value_name = "URL", hide_env_values = true)]
    pub(in crate::config) otlp_traces_endpoint: Option<Secret>,

    /// Headers for the collector, such as a key: name=value,name=value, special characters as %XX. Rather in the
    /// environment than as a flag.
    #[arg(long = "otel-exporter-otlp-headers", env = "OTEL_EXPORTER_OTLP_HEADERS", hide_env_values = true)]
    #[arg(value_name = "HEADERS")]
    pub(in crate::config) otlp_headers: Option<Secret>,

    /// The same for traces alone, in place of those above.
    #[arg(long = "otel-exporter-otlp-traces-headers", env = "OTEL_EXPORTER_OTLP_TRACES_HEADERS")]
    #[arg(value_name = "HEADERS", hide_env_values = true)]
    pub(in crate::config) otlp_traces_headers: Option<Secret>,

    /// How traces are sent: http/protobuf, which is the one way there is.
    #[arg(long = "otel-exporter-otlp-protocol", env = "OTEL_EXPORTER_OTLP_PROTOCOL", hide_env_values = true)]
    #[arg(value_name = "PROTOCOL", default_value = "http/protobuf")]
    pub(in crate::config) otlp_protocol: String,

    /// The same for traces alone. Empty: as above.
    #[arg(long = "otel-exporter-otlp-traces-protocol", env = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")]
    #[arg(value_name = "PROTOCOL", hide_env_values = true)]
    pub(in crate::config) otlp_traces_protocol: Option<String>,

    /// Milliseconds that the collector may take for one request, 100 to 60000.
    #[arg(long = "otel-exporter-otlp-timeout", env = "OTEL_EXPORTER_OTLP_TIMEOUT", hide_env_values = true)]
    #[arg(value_name = "MILLISECONDS", default_value = "10000")]
    pub(in crate::config) otlp_timeout: String,

    /// The same for traces alone. Empty: as above.
    #[arg(long = "otel-exporter-otlp-traces-timeout", env = "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT")]
    #[arg(value_name = "MILLISECONDS", hide_env_values = true)]
    pub(in crate::config) otlp_traces_timeout: Option<String>,

    /// The name of this service in traces.
    #[arg(long = "otel-service-name", env = "OTEL_SERVICE_NAME", hide_env_values = true)]
    #[arg(value_name = "NAME", default_value = "carillon")]
    pub(in crate::config) service_name: String,

    /// What else traces say of this process: name=value,name=value, special characters as %XX.
    #[arg(long = "otel-resource-attributes", env = "OTEL_RESOURCE_ATTRIBUTES", hide_env_values = true)]
    #[arg(value_name = "ATTRIBUTES")]
    pub(in crate::config) resource_attributes: Option<String>,

    /// Which traces are recorded: always_on, always_off, traceidratio, or one of these with parentbased_ in front: then
    /// the client's `traceparent` decides, where it sends one.
    #[arg(long = "otel-traces-sampler", env = "OTEL_TRACES_SAMPLER", hide_env_values = true)]
    #[arg(value_name = "SAMPLER", default_value = "parentbased_always_on")]
    pub(in crate::config) sampler: String,

    /// The share of traceidratio, 0 to 1 (default: 1).
    #[arg(long = "otel-traces-sampler-arg", env = "OTEL_TRACES_SAMPLER_ARG", hide_env_values = true)]
    #[arg(value_name = "SHARE")]
    pub(in crate::config) sampler_arg: Option<String>,

    /// Whether traces are sent: otlp, or none.
    #[arg(long = "otel-traces-exporter", env = "OTEL_TRACES_EXPORTER", hide_env_values = true)]
    #[arg(value_name = "OTLP|NONE", default_value = "otlp")]
    pub(in crate::config) exporter: String,

    /// true: nothing is recorded nor sent, whatever else is set.
    #[arg(long = "otel-sdk-disabled", env = "OTEL_SDK_DISABLED", hide_env_values = true)]
    #[arg(value_name = "TRUE|FALSE", default_value = "false")]
    pub(in crate::config) disabled: String,
}

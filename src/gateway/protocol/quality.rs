//! `call:quality`: what a client reports of its media, one report or several, checked.

use serde::Deserialize;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        AllOfBuilder, ObjectBuilder, Ref, RefOr, Schema,
        schema::{AnyOfBuilder, ArrayBuilder},
    },
};

use crate::{
    domain::{
        CallId, Timestamp,
        quality::{IceState, Measured},
    },
    wire::Refusal,
};

/// Reports of one command. More do not fit into the time that clients keep them for; fewer cost a request each.
const MAX_REPORTS: usize = 100;
/// The longest time that can be meant, in milliseconds: a minute of jitter or round trip is a broken clock.
const MAX_MS: f64 = 60_000.0;
/// More than any client has, in kbit/s: 10 Gbit/s.
const MAX_KBPS: f64 = 10_000_000.0;
const MAX_FPS: f64 = 1000.0;
/// Pixels of one side.
const MAX_PIXELS: u32 = 16_384;
const MAX_CODEC_CHARS: usize = 32;

/// As sent: the fields of one report, or `reports`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct QualityData {
    call_id: CallId,
    reports: Option<Vec<ReportData>>,
    #[serde(flatten)]
    single: ReportData,
}

impl PartialSchema for QualityData {
    fn schema() -> RefOr<Schema> {
        let call = || CallId::schema();
        let reports = ArrayBuilder::new().items(Ref::from_schema_name(ReportData::name()));
        let reports = reports.min_items(Some(1)).max_items(Some(MAX_REPORTS)).description(Some("Several at once."));
        let list = ObjectBuilder::new().property("callId", call()).property("reports", reports);
        let list = list.required("callId").required("reports").description(Some("Several reports."));
        let of_call = ObjectBuilder::new().property("callId", call()).required("callId");
        let single = AllOfBuilder::new().item(of_call).item(Ref::from_schema_name(ReportData::name()));
        let single = single.description(Some("One report."));
        AnyOfBuilder::new().item(list).item(single).description(Some("Reports about one call.")).into()
    }
}

impl ToSchema for QualityData {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((ReportData::name().into_owned(), ReportData::schema()));
        ReportData::schemas(schemas);
    }
}

/// What a client measured: at least one of the fields but `at`.
#[derive(Deserialize, Default, PartialEq, ToSchema)]
#[schema(as = QualityReport)]
#[serde(rename_all = "camelCase")]
struct ReportData {
    /// When it was measured, not more than 7 days ago; missing: now.
    at: Option<Timestamp>,
    /// Jitter in milliseconds.
    #[schema(minimum = 0, maximum = 60000)]
    jitter_ms: Option<f64>,
    /// Packets lost, in percent.
    #[schema(minimum = 0, maximum = 100)]
    packet_loss_pct: Option<f64>,
    /// Round trip in milliseconds.
    #[schema(minimum = 0, maximum = 60000)]
    round_trip_ms: Option<f64>,
    /// Bandwidth in kbit/s.
    #[schema(minimum = 0, maximum = 10000000)]
    bandwidth_kbps: Option<f64>,
    /// Frames per second.
    #[schema(minimum = 0, maximum = 1000)]
    fps: Option<f64>,
    /// Width and height in pixels, 1 to 16384 each, as `1280x720`.
    #[schema(pattern = "^[0-9]{1,5}x[0-9]{1,5}$")]
    resolution: Option<String>,
    /// The codec, as `video/VP8`.
    #[schema(pattern = "^[A-Za-z0-9./_+-]{1,32}$")]
    codec: Option<String>,
    /// The state of the ICE agent.
    ice_state: Option<IceState>,
    /// Whether media goes by a TURN server.
    used_turn: Option<bool>,
}

/// One report.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// When it was measured; `None`: now.
    pub at: Option<Timestamp>,
    pub measured: Measured,
}

/// Reports about one call, at least one.
#[derive(Debug, Clone, PartialEq)]
pub struct Reported {
    pub call: CallId,
    pub reports: Vec<Report>,
    /// They came as a list, and are answered as one.
    pub as_list: bool,
}

impl QualityData {
    pub(super) fn checked(self) -> Result<Reported, Refusal> {
        let Self { call_id: call, reports, single } = self;
        let Some(reports) = reports else {
            return Ok(Reported { call, reports: vec![single.checked("data")?], as_list: false });
        };
        if single != ReportData::default() {
            return Err(Refusal::invalid("data must have either reports or the fields of one"));
        }
        if reports.is_empty() || reports.len() > MAX_REPORTS {
            return Err(Refusal::invalid("data.reports must hold 1 to 100 reports"));
        }
        let reports = reports.into_iter().enumerate();
        let reports =
            reports.map(|(n, report)| report.checked(&format!("data.reports[{n}]"))).collect::<Result<_, _>>();
        Ok(Reported { call, reports: reports?, as_list: true })
    }
}

impl ReportData {
    /// `name`: what refusals call it.
    fn checked(self, name: &str) -> Result<Report, Refusal> {
        let within = |value: Option<f64>, most: f64, field: &str| match value {
            Some(value) if !(0.0..=most).contains(&value) => {
                Err(Refusal::invalid(format!("{name}.{field} must be 0 to {most}")))
            }
            value => Ok(value),
        };
        let resolution_fits = self.resolution.as_deref().is_none_or(is_resolution);
        if !resolution_fits {
            return Err(Refusal::invalid(format!("{name}.resolution must be as 1280x720, 1 to {MAX_PIXELS} each")));
        }
        if !self.codec.as_deref().is_none_or(is_codec) {
            return Err(Refusal::invalid(format!(
                "{name}.codec must have 1 to {MAX_CODEC_CHARS} letters, digits and ./_+-"
            )));
        }
        let measured = Measured {
            jitter_ms: within(self.jitter_ms, MAX_MS, "jitterMs")?,
            packet_loss_pct: within(self.packet_loss_pct, 100.0, "packetLossPct")?,
            round_trip_ms: within(self.round_trip_ms, MAX_MS, "roundTripMs")?,
            bandwidth_kbps: within(self.bandwidth_kbps, MAX_KBPS, "bandwidthKbps")?,
            fps: within(self.fps, MAX_FPS, "fps")?,
            resolution: self.resolution,
            codec: self.codec,
            ice_state: self.ice_state,
            used_turn: self.used_turn,
        };
        if measured == Measured::default() {
            return Err(Refusal::invalid(format!("{name} reports nothing")));
        }
        Ok(Report { at: self.at, measured })
    }
}

fn is_resolution(text: &str) -> bool {
    let side = |side: &str| {
        let digits = !side.is_empty() && side.len() <= 5 && side.bytes().all(|byte| byte.is_ascii_digit());
        digits && side.parse().is_ok_and(|pixels: u32| (1..=MAX_PIXELS).contains(&pixels))
    };
    text.split_once('x').is_some_and(|(width, height)| side(width) && side(height))
}

fn is_codec(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"./_+-".contains(&byte);
    (1..=MAX_CODEC_CHARS).contains(&text.len()) && text.bytes().all(known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ErrorCode;

    fn read(data: &str) -> Result<Reported, Refusal> {
        serde_json::from_str::<QualityData>(data).map_err(|e| Refusal::invalid(e.to_string()))?.checked()
    }

    #[test]
    fn a_report_or_a_list_of_them_is_read() {
        let one = read(
            r#"{"callId":"c","jitterMs":5,"packetLossPct":0.5,"roundTripMs":80,"bandwidthKbps":1200,"fps":30,
            "resolution":"1280x720","codec":"video/VP8","iceState":"connected","usedTurn":true,"more":[1]}"#,
        )
        .unwrap();
        assert!(!one.as_list && one.reports.len() == 1);
        let measured = &one.reports[0].measured;
        assert_eq!((measured.jitter_ms, measured.used_turn), (Some(5.0), Some(true)));
        let list = r#"{"callId":"c","reports":[{"at":"2026-01-02T03:04:05.678Z","fps":1},{"usedTurn":false}]}"#;
        let list = read(list).unwrap();
        assert!(list.as_list && list.reports.len() == 2);
        assert_eq!(list.reports[0].at.unwrap().to_string(), "2026-01-02T03:04:05.678Z");
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let many = format!(r#""reports":[{}]"#, vec![r#"{"fps":1}"#; 101].join(","));
        let long = format!(r#""codec":"{}""#, "c".repeat(33));
        for (fields, named) in [
            (r#""jitterMs":-1"#, "jitterMs"),
            (r#""jitterMs":60001"#, "jitterMs"),
            (r#""packetLossPct":100.1"#, "packetLossPct"),
            (r#""roundTripMs":"5""#, ""),
            (r#""roundTripMs":1e999"#, ""),
            (r#""bandwidthKbps":1e8"#, "bandwidthKbps"),
            (r#""fps":1001"#, "fps"),
            (r#""resolution":"1280""#, "resolution"),
            (r#""resolution":"0x720""#, "resolution"),
            (r#""resolution":"+5x720""#, "resolution"),
            (r#""resolution":"99999x720""#, "resolution"),
            (r#""codec":"a b""#, "codec"),
            (r#""codec":"""#, "codec"),
            (long.as_str(), "codec"),
            (r#""iceState":"happy""#, ""),
            (r#""usedTurn":1"#, ""),
            (r#""at":"yesterday","fps":1"#, ""),
            (r#""reports":[]"#, "reports"),
            (many.as_str(), "reports"),
            (r#""reports":[{"fps":1},{"fps":-1}]"#, "data.reports[1].fps"),
            (r#""reports":[{"fps":1}],"fps":1"#, "either"),
            (r#""at":"2026-01-02T03:04:05Z""#, "nothing"),
            (r#""more":1"#, "nothing"),
        ] {
            let refused = read(&format!(r#"{{"callId":"c",{fields}}}"#)).unwrap_err();
            assert_eq!(refused.code, ErrorCode::Invalid, "{fields}");
            assert!(refused.message.contains(named), "{fields}: {}", refused.message);
        }
    }
}

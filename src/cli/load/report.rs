//! The report of a run: one JSON object for programs, a page of text for people, both from the same figures.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use serde_json::Value;

use super::{
    LoadArgs, Mode,
    pacing::Window,
    stats::{Counter, Latency, Metric, Recorder},
};

/// What a group of processes used in the measured window. Memory is resident memory; "before" is before the load's connections.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessReport {
    /// The name given with `--pid`, or the program's.
    pub name: String,
    /// Its processes.
    pub pids: Vec<u32>,
    /// A process ended during the run: the other figures are worth nothing.
    pub gone: bool,
    /// CPU time within the window.
    pub cpu_seconds: f64,
    /// Mode `calls`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_micros_per_call: Option<f64>,
    /// Mode `signals`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_micros_per_signal: Option<f64>,
    /// Mode `connect`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_micros_per_connect: Option<f64>,
    /// Mode `idle`: what holding one connection costs per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_micros_per_connection_second: Option<f64>,
    /// Memory that the load's connections added, per connection; right for servers started for this run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kib_per_connection: Option<f64>,
    /// Before the load's connections.
    pub rss_before_kib: u64,
    /// With all of them, before the warm-up.
    pub rss_connected_kib: u64,
    /// At the beginning of the window.
    pub rss_begin_kib: u64,
    /// At its end.
    pub rss_end_kib: u64,
}

/// What the run used.
#[derive(Clone, Debug, Default)]
pub struct Costs {
    /// The servers.
    pub processes: Vec<ProcessReport>,
    /// This process, within the window.
    pub generator_cpu_seconds: f64,
}

/// How many, and how many per second, within the window.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Throughput {
    /// Done within the window.
    pub count: u64,
    /// Per second.
    pub per_second: f64,
}

/// Failures of work that was due within the window.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Errors {
    /// All of them.
    pub total: u64,
    /// What was tried: calls, signals, or connections opened or held.
    pub attempts: u64,
    /// Errors per attempt.
    pub rate: f64,
    /// By code: those of the protocol, and the load's own, as `timeout`.
    pub by_code: BTreeMap<String, u64>,
    /// By what was waited for.
    pub by_step: BTreeMap<&'static str, u64>,
}

/// What this process itself used.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Generator {
    /// CPU time within the window.
    pub cpu_seconds: f64,
    /// Share of one core; near 1 the load itself was the limit.
    pub core_share: f64,
}

/// The outcome of a run.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What was done.
    pub mode: &'static str,
    /// The nodes.
    pub targets: Vec<String>,
    /// Pairs of users (in the mode `connect`: connections at the same time).
    pub pairs: u32,
    /// Connections that were only held.
    pub idle: u32,
    /// Both users of a pair on one node.
    pub same_node: bool,
    /// Bytes of a signal's payload.
    pub signal_bytes: u32,
    /// Signals of a call, in the mode `calls`.
    pub signals_per_call: u64,
    /// The rate asked for, per second; 0: closed loop.
    pub target_rate: f64,
    /// Length of the measured window.
    pub seconds: f64,
    /// Ended by Ctrl-C.
    pub interrupted: bool,
    /// Whole calls.
    pub calls: Throughput,
    /// Signals that arrived.
    pub signals: Throughput,
    /// New connections, in the mode `connect`.
    pub connections: Throughput,
    /// Milliseconds, by what was measured.
    pub latency_ms: BTreeMap<&'static str, Latency>,
    /// Failures.
    pub errors: Errors,
    /// The servers.
    pub processes: Vec<ProcessReport>,
    /// The load itself.
    pub generator: Generator,
    /// Not more errors than `--max-error-rate`, and something was tried.
    pub passed: bool,
}

impl Report {
    /// From everything measured.
    pub fn new(args: &LoadArgs, recorder: &Recorder, window: Window, interrupted: bool, costs: Costs) -> Self {
        let seconds = window.seconds();
        let share = |value: f64| if seconds > 0.0 { value / seconds } else { 0.0 };
        let throughput = |counter| {
            let count = recorder.counted(counter);
            Throughput { count, per_second: share(count as f64) }
        };
        let rate = recorder.error_rate();
        Report {
            mode: match args.mode {
                Mode::Calls => "calls",
                Mode::Signals => "signals",
                Mode::Connect => "connect",
                Mode::Idle => "idle",
                Mode::Hold => "hold",
            },
            targets: args.targets.iter().map(ToString::to_string).collect(),
            pairs: args.pairs,
            idle: args.idle,
            same_node: args.same_node,
            signal_bytes: args.signal_bytes,
            signals_per_call: args.signals_per_call,
            target_rate: match args.mode {
                Mode::Calls => args.calls_per_second,
                Mode::Signals => args.signals_per_second,
                Mode::Connect => args.connections_per_second,
                Mode::Idle | Mode::Hold => 0.0,
            },
            seconds,
            interrupted,
            calls: throughput(Counter::Calls),
            signals: throughput(Counter::Signals),
            connections: throughput(Counter::Connections),
            latency_ms: Metric::ALL.iter().filter_map(|m| Some((m.key(), recorder.latency(*m)?))).collect(),
            errors: Errors {
                total: recorder.errors(),
                attempts: recorder.attempts(),
                rate,
                by_code: recorder.errors_by_code().clone(),
                by_step: recorder.errors_by_step().clone(),
            },
            processes: costs.processes,
            generator: Generator {
                cpu_seconds: costs.generator_cpu_seconds,
                core_share: share(costs.generator_cpu_seconds),
            },
            passed: rate <= args.max_error_rate && (recorder.attempts() > 0 || interrupted),
        }
    }

    /// One JSON object on one line.
    pub fn to_json(&self) -> anyhow::Result<String> {
        to_json(self)
    }
}

/// A report as one JSON object on one line, without the noise of arithmetic.
pub(super) fn to_json(report: &impl Serialize) -> anyhow::Result<String> {
    let mut json = serde_json::to_value(report)?;
    round(&mut json);
    Ok(json.to_string())
}

/// Six decimals are a nanosecond of the milliseconds; all others are noise of the arithmetic.
fn round(json: &mut Value) {
    match json {
        Value::Number(number) if number.is_f64() => {
            let rounded = number.as_f64().map(|number| (number * 1e6).round() / 1e6);
            *json = rounded.and_then(serde_json::Number::from_f64).map_or(Value::Null, Value::Number);
        }
        Value::Array(values) => values.iter_mut().for_each(round),
        Value::Object(fields) => fields.values_mut().for_each(round),
        _ => {}
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}, {:.1} s", self.mode, self.targets.join(", "), self.seconds)?;
        writeln!(f, "{}", if self.interrupted { " (interrupted)" } else { "" })?;
        self.fmt_throughput(f)?;
        self.fmt_latencies(f)?;
        self.fmt_errors(f)?;
        self.fmt_costs(f)
    }
}

impl Report {
    fn fmt_throughput(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        for (name, throughput) in
            [("calls", self.calls), ("signals", self.signals), ("new connections", self.connections)]
        {
            if throughput.count > 0 || (name == "calls" && self.mode == "calls") {
                writeln!(f, "{name:<18}{:>12}{:>14.1} per second", throughput.count, throughput.per_second)?;
            }
        }
        if self.mode == "idle" {
            writeln!(f, "{:<18}{:>12}", "connections held", self.idle)?;
        }
        Ok(())
    }

    fn fmt_latencies(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.latency_ms.is_empty() {
            return Ok(());
        }
        writeln!(f, "\n{:<18}{:>12}{:>12}{:>12}{:>12}{:>12}", "latency, ms", "samples", "p50", "p90", "p99", "max")?;
        for metric in Metric::ALL {
            if let Some(Latency { count, p50, p90, p99, max, .. }) = self.latency_ms.get(metric.key()) {
                writeln!(f, "{:<18}{count:>12}{p50:>12.3}{p90:>12.3}{p99:>12.3}{max:>12.3}", metric.title())?;
            }
        }
        Ok(())
    }

    fn fmt_errors(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Errors { total, attempts, rate, by_code, by_step } = &self.errors;
        let verdict = if self.passed { "" } else { "  TOO MANY" };
        writeln!(f, "\n{:<18}{total:>12} of {attempts} attempts ({:.3} %){verdict}", "errors", rate * 100.0)?;
        for (code, count) in by_code {
            writeln!(f, "  {code:<28}{count:>12}")?;
        }
        if !by_step.is_empty() {
            let steps: Vec<String> = by_step.iter().map(|(step, count)| format!("{step} {count}")).collect();
            writeln!(f, "  while waiting for: {}", steps.join(", "))?;
        }
        Ok(())
    }

    fn fmt_costs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{:<18}{:>12}{:>12}  used", "processes", "CPU, s", "RSS, MiB")?;
        for process in &self.processes {
            let ProcessReport { name, cpu_seconds, rss_end_kib, .. } = process;
            write!(f, "{name:<18}{cpu_seconds:>12.2}{:>12.1}", *rss_end_kib as f64 / 1024.0)?;
            if process.gone {
                write!(f, "  a process ended during the run")?;
            }
            for (value, unit) in [
                (process.cpu_micros_per_call, "µs CPU per call"),
                (process.cpu_micros_per_signal, "µs CPU per signal"),
                (process.cpu_micros_per_connect, "µs CPU per new connection"),
                (process.cpu_micros_per_connection_second, "µs CPU per connection and second"),
                (process.kib_per_connection, "KiB per connection"),
            ] {
                if let Some(value) = value {
                    write!(f, "  {value:.1} {unit}")?;
                }
            }
            writeln!(f)?;
        }
        let Generator { cpu_seconds, core_share } = self.generator;
        write!(f, "{:<18}{cpu_seconds:>12.2}{:>12}  {:.0} % of a core", "this load", "", core_share * 100.0)?;
        writeln!(f, "{}", if core_share > 0.9 { ": it may itself have been the limit" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::parse, *};

    fn report(words: &str, errors: u64) -> Report {
        let window = Window { from: 0, to: 2_000_000_000 };
        let mut recorder = Recorder::default();
        recorder.window = window;
        recorder.attempt(1, 100);
        recorder.count(Counter::Calls, 1, 100);
        recorder.count(Counter::Signals, 1, 1800);
        recorder.sample(Metric::StartToIncoming, 1, 1_500_000);
        recorder.error("timeout", "incoming", 1, errors);
        let server = ProcessReport {
            name: "carillon".into(),
            pids: vec![7],
            cpu_seconds: 0.1 + 0.2,
            cpu_micros_per_call: Some(240.0),
            kib_per_connection: Some(11.5),
            rss_end_kib: 10_240,
            ..Default::default()
        };
        let costs = Costs { processes: vec![server], generator_cpu_seconds: 1.9 };
        Report::new(&parse(&format!("--target a:1 {words}")).unwrap(), &recorder, window, false, costs)
    }

    #[test]
    fn the_text_names_what_was_measured_with_units() {
        let text = report("", 2).to_string();
        for part in [
            "calls on ws://a:1/ws, 2.0 s",
            "50.0 per second",
            "900.0 per second",
            "start → incoming",
            "1.500",
            "2 of 100 attempts (2.000 %)  TOO MANY",
            "while waiting for: incoming 2",
            "240.0 µs CPU per call  11.5 KiB per connection",
            "10.0",
            "95 % of a core: it may itself have been the limit",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        assert!(!text.contains("signal, one way"), "no samples, no line");
    }

    #[test]
    fn the_json_is_one_object_on_one_line_without_noise() {
        let text = report("", 0).to_json().unwrap();
        assert!(!text.contains('\n'));
        let json: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["calls"], serde_json::json!({"count": 100, "perSecond": 50.0}));
        assert_eq!(json["latencyMs"]["startToIncoming"]["count"], 1);
        assert_eq!(json["processes"][0]["cpuSeconds"].to_string(), "0.3");
        assert_eq!(json["errors"]["byCode"], serde_json::json!({}));
        assert_eq!(json["passed"], true);
    }

    #[test]
    fn a_run_passes_up_to_the_error_rate_allowed() {
        assert!(report("", 1).passed);
        assert!(!report("", 2).passed);
        assert!(report("--max-error-rate 0.02", 2).passed);
    }
}

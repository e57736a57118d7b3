//! What was found, and how it is shown: lines for people, one object for programs.
//!
//! Owns the verdicts and what they come to. Must never show a secret: nobody hands one over, and should one stand in the
//! words of some server, it is cut out here. Survives words of any kind: what is not printable is not printed.

use std::{cell::RefCell, fmt::Write, time::Duration};

use serde::Serialize;

/// The longest text that is shown of anything, in characters: some servers answer with a page.
const MAX_TEXT: usize = 400;
/// A secret shorter than this is not looked for: it would be found in innocent words.
const MIN_SECRET: usize = 4;

/// What a check comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and not as it should in production, or not for long.
    Warning,
    /// It does not work, or what Carillon promises does not hold.
    Wrong,
    /// Nothing is known, and why.
    NotChecked,
}

impl Verdict {
    const fn words(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Wrong => "wrong",
            Self::NotChecked => "not checked",
        }
    }

    /// The colour of a terminal.
    const fn colour(self) -> &'static str {
        match self {
            Self::Ok => "32",
            Self::Warning => "33",
            Self::Wrong => "31",
            Self::NotChecked => "2",
        }
    }
}

/// One check.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Finding {
    pub(super) name: &'static str,
    pub(super) verdict: Verdict,
    pub(super) seen: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mend: Option<String>,
}

/// What one group of checks has found so far. What stands here is kept when the rest of the group takes too long.
#[derive(Debug, Default)]
pub(super) struct Findings(RefCell<Vec<Finding>>);

impl Findings {
    pub(super) fn ok(&self, name: &'static str, seen: impl Into<String>) {
        self.add(name, Verdict::Ok, seen.into(), None);
    }

    pub(super) fn warning(&self, name: &'static str, seen: impl Into<String>, mend: impl Into<String>) {
        self.add(name, Verdict::Warning, seen.into(), Some(mend.into()));
    }

    pub(super) fn wrong(&self, name: &'static str, seen: impl Into<String>, mend: impl Into<String>) {
        self.add(name, Verdict::Wrong, seen.into(), Some(mend.into()));
    }

    pub(super) fn not_checked(&self, name: &'static str, why: impl Into<String>) {
        self.add(name, Verdict::NotChecked, why.into(), None);
    }

    /// Not checked, and how to see for oneself.
    pub(super) fn by_hand(&self, name: &'static str, why: impl Into<String>, how: impl Into<String>) {
        self.add(name, Verdict::NotChecked, why.into(), Some(how.into()));
    }

    /// With advice unless it is well.
    pub(super) fn judged(&self, name: &'static str, verdict: Verdict, seen: impl Into<String>, mend: &str) {
        self.add(name, verdict, seen.into(), (verdict != Verdict::Ok).then(|| mend.to_owned()));
    }

    fn add(&self, name: &'static str, verdict: Verdict, seen: String, mend: Option<String>) {
        self.0.borrow_mut().push(Finding { name, verdict, seen, mend });
    }

    pub(super) fn take(&self) -> Vec<Finding> {
        self.0.take()
    }
}

/// All that was found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// Of this program.
    pub(super) version: &'static str,
    /// The worst of all.
    verdict: Verdict,
    pub(super) took_ms: u64,
    counts: Counts,
    checks: Vec<Finding>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Counts {
    ok: usize,
    warning: usize,
    wrong: usize,
    not_checked: usize,
}

impl Report {
    /// `secrets`: what may stand nowhere.
    pub(super) fn new(version: &'static str, checks: Vec<Finding>, took: Duration, secrets: &[String]) -> Self {
        let mut counts = Counts::default();
        let mut cleaned = Vec::with_capacity(checks.len());
        for Finding { name, verdict, seen, mend } in checks {
            *match verdict {
                Verdict::Ok => &mut counts.ok,
                Verdict::Warning => &mut counts.warning,
                Verdict::Wrong => &mut counts.wrong,
                Verdict::NotChecked => &mut counts.not_checked,
            } += 1;
            let mend = mend.map(|mend| clean(&mend, secrets));
            cleaned.push(Finding { name, verdict, seen: clean(&seen, secrets), mend });
        }
        let verdict = match (counts.wrong, counts.warning) {
            (0, 0) => Verdict::Ok,
            (0, _) => Verdict::Warning,
            _ => Verdict::Wrong,
        };
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        Self { version, verdict, took_ms, counts, checks: cleaned }
    }

    /// Whether all is well; with `strict`, warnings are not.
    pub(super) fn is_well(&self, strict: bool) -> bool {
        self.counts.wrong == 0 && !(strict && self.counts.warning > 0)
    }

    /// One line for each check, advice indented below it, and a last line with the sums.
    pub(super) fn lines(&self, colours: bool) -> String {
        let width = self.checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
        let mut text = format!("carillon doctor {}\n\n", self.version);
        for Finding { name, verdict, seen, mend } in &self.checks {
            let padded = format!("{:<11}", verdict.words());
            let verdict = if colours { format!("\x1b[{}m{padded}\x1b[0m", verdict.colour()) } else { padded };
            // Writing to a string does not fail.
            let _ = writeln!(text, "{verdict}  {name:<width$}  {seen}");
            if let Some(mend) = mend {
                let _ = writeln!(text, "{:13}-> {mend}", "");
            }
        }
        let Counts { ok, warning, wrong, not_checked } = &self.counts;
        let warnings = if *warning == 1 { "1 warning".to_owned() } else { format!("{warning} warnings") };
        let took = self.took_ms as f64 / 1000.0;
        let _ = writeln!(text, "\n{wrong} wrong, {warnings}, {ok} ok, {not_checked} not checked, in {took:.1} s");
        text
    }
}

/// On one line, printable, not too long, and without secrets.
fn clean(text: &str, secrets: &[String]) -> String {
    let mut text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    for secret in secrets.iter().filter(|secret| secret.len() >= MIN_SECRET) {
        text = text.replace(secret.as_str(), "[secret]");
    }
    if text.chars().count() > MAX_TEXT {
        text = text.chars().take(MAX_TEXT).chain(['…']).collect();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(findings: &Findings) -> Report {
        Report::new("1.2.3", findings.take(), Duration::from_millis(1240), &["hunter22".to_owned()])
    }

    #[test]
    fn the_worst_finding_is_the_verdict_and_what_was_not_checked_is_none() {
        let found = Findings::default();
        found.ok("a", "well");
        found.not_checked("b", "cannot be asked");
        let well = report(&found);
        assert!(well.verdict == Verdict::Ok && well.is_well(true));
        found.warning("c", "odd", "do this");
        let odd = report(&found);
        assert!(odd.verdict == Verdict::Warning && odd.is_well(false) && !odd.is_well(true));
        found.warning("c", "odd", "do this");
        found.wrong("d", "broken", "do that");
        let broken = report(&found);
        assert!(broken.verdict == Verdict::Wrong && !broken.is_well(false));
    }

    #[test]
    fn lines_are_aligned_and_advice_stands_below() {
        let found = Findings::default();
        found.ok("database", "well");
        found.wrong("bus", "broken", "do that");
        let text = report(&found).lines(false);
        let wanted = "ok           database  well\nwrong        bus       broken\n             -> do that\n";
        assert!(text.contains(wanted), "{text}");
        assert!(text.ends_with("1 wrong, 0 warnings, 1 ok, 0 not checked, in 1.2 s\n"), "{text}");
        found.ok("database", "well");
        assert!(report(&found).lines(true).contains("\x1b[32mok         \x1b[0m"));
    }

    #[test]
    fn words_of_a_server_bring_in_no_secret_no_escape_sequence_and_no_page() {
        let found = Findings::default();
        found.wrong("bus", format!("a\x1b[2J\nhunter22 {}", "x".repeat(1000)), "hunter22");
        let text = report(&found).lines(false);
        assert!(!text.contains("hunter22") && !text.contains('\x1b') && text.len() < 700, "{text}");
        assert!(text.contains("a [2J [secret] x"), "{text}");
        let object = serde_json::to_value(report(&found)).unwrap();
        assert_eq!(object["counts"]["notChecked"], 0);
    }
}

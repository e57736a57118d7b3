//! What is limited, how much of each passes when nothing is said, and `CARILLON_RATE_LIMITS` as text.
//!
//! The defaults are above what an honest client does, by an order of magnitude where that is known, because a limit that
//! is met by chance is an outage. An address may be a whole company or a mobile network, so its quotas are far larger.

use std::time::Duration;

use super::gcra::Quota;

/// What is counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Opening a session.
    Connect,
    /// Tokens and keys that are not good.
    Auth,
    /// `call:start`.
    Start,
    /// `call:invite`.
    Invite,
    /// `call:signal`.
    Signal,
    /// Every other command of a socket, and frames that are none.
    Command,
    /// Other requests that change nothing.
    Read,
    /// Other requests that change something.
    Write,
    /// Passwords of one recording's link, tried.
    Password,
    /// Requests with a service key.
    Service,
    /// Refusals by a limit, pings, and frames that are not text, in one session.
    Flood,
}

/// For whom it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    User,
    /// One session, on its node alone.
    Session,
    /// An IPv4 address or an IPv6 network of 64 bits.
    Address,
}

/// One row: the quota of a user (or session), and of an address. None: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    kind: Kind,
    name: &'static str,
    /// Of what [`Row::narrow`] is.
    narrow_scope: Option<Scope>,
    narrow: Option<Quota>,
    has_address: bool,
    address: Option<Quota>,
}

const fn row(kind: Kind, name: &'static str, user: Quota, address: Quota) -> Row {
    Row { kind, name, narrow_scope: Some(Scope::User), narrow: Some(user), has_address: true, address: Some(address) }
}

const fn by_address(kind: Kind, name: &'static str, address: Quota) -> Row {
    Row { kind, name, narrow_scope: None, narrow: None, has_address: true, address: Some(address) }
}

const fn by_session(kind: Kind, name: &'static str, session: Quota) -> Row {
    Row { kind, name, narrow_scope: Some(Scope::Session), narrow: Some(session), has_address: false, address: None }
}

/// In the order of [`Kind`]. docs/settings.md gives the reason for each; smaller, and what is named there is refused;
/// larger, and one client costs its node more.
const DEFAULTS: [Row; 11] = [
    row(Kind::Connect, "connect", Quota::of(300, 150), Quota::of(10_000, 20)),
    by_address(Kind::Auth, "auth", Quota::of(300, 100)),
    row(Kind::Start, "start", Quota::of(300, 150), Quota::of(5_000, 20)),
    row(Kind::Invite, "invite", Quota::of(300, 150), Quota::of(5_000, 20)),
    by_session(Kind::Signal, "signal", Quota::of(2_000, 10)),
    row(Kind::Command, "command", Quota::of(2_000, 100), Quota::of(20_000, 10)),
    row(Kind::Read, "read", Quota::of(1_000, 50), Quota::of(20_000, 10)),
    row(Kind::Write, "write", Quota::of(1_000, 50), Quota::of(10_000, 10)),
    by_address(Kind::Password, "password", Quota::of(10, 300)),
    by_address(Kind::Service, "service", Quota::of(10_000, 10)),
    by_session(Kind::Flood, "flood", Quota::of(500, 20)),
];

impl Kind {
    /// How many there are.
    pub(super) const COUNT: usize = DEFAULTS.len();

    /// The name in settings, keys and metrics.
    pub const fn as_str(self) -> &'static str {
        DEFAULTS[self as usize].name
    }

    /// All of them.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        DEFAULTS.iter().map(|row| row.kind)
    }

    /// What a command of the socket counts as.
    pub fn of_event(event: &str) -> Self {
        match event {
            "call:start" => Self::Start,
            "call:invite" => Self::Invite,
            "call:signal" => Self::Signal,
            _ => Self::Command,
        }
    }

    /// What the same command counts as in a request; `safe`: a GET or HEAD.
    pub fn of_request(event: &str, safe: bool) -> Self {
        match Self::of_event(event) {
            Self::Command if safe => Self::Read,
            Self::Command => Self::Write,
            kind => kind,
        }
    }
}

/// Every limit that is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules([Row; Kind::COUNT]);

impl Default for Rules {
    fn default() -> Self {
        Self(DEFAULTS)
    }
}

impl Rules {
    /// The quota, if there is one. Over REST a signal is counted for its user, by the quota of a session.
    pub(super) fn quota(&self, kind: Kind, scope: Scope) -> Option<Quota> {
        let row = &self.0[kind as usize];
        match scope {
            Scope::User | Scope::Session => row.narrow,
            Scope::Address => row.address,
        }
    }

    /// Reads `CARILLON_RATE_LIMITS`: `on`, `off` (`None`), or changes to the defaults such as
    /// `start=10/60s,start.address=off`. The error says what is wrong and what would be right.
    pub fn parse(text: &str) -> Result<Option<Self>, String> {
        let mut rules = Self::default();
        match text.trim().to_ascii_lowercase().as_str() {
            "on" | "true" | "1" | "yes" => return Ok(Some(rules)),
            "off" | "false" | "0" | "no" => return Ok(None),
            _ => {}
        }
        let mut seen = Vec::new();
        for item in text.split(',').map(str::trim) {
            let Some((name, value)) = item.split_once('=') else {
                return Err(format!("holds {item:?}: give on, off, or limits such as start=10/60s,signal=400/8s"));
            };
            let (name, value) = (name.trim(), value.trim());
            if name == "address" {
                if !value.eq_ignore_ascii_case("off") {
                    return Err(
                        "sets address, which can only be off: name a kind too, such as start.address".to_owned()
                    );
                }
                rules.0.iter_mut().for_each(|row| row.address = None);
                continue;
            }
            let quota = if value.eq_ignore_ascii_case("off") { None } else { Some(quota(value)?) };
            let slot = rules.slot(name)?;
            if seen.contains(&std::ptr::from_ref(slot)) {
                return Err(format!("names {name} twice"));
            }
            seen.push(std::ptr::from_ref(slot));
            *slot = quota;
        }
        Ok(Some(rules))
    }

    fn slot(&mut self, name: &str) -> Result<&mut Option<Quota>, String> {
        let (kind, of_address) = match name.strip_suffix(".address") {
            Some(kind) => (kind, true),
            None => (name, false),
        };
        let Some(row) = self.0.iter_mut().find(|row| row.name == kind) else {
            let known: Vec<_> = DEFAULTS.iter().map(|row| row.name).collect();
            return Err(format!("names {name:?}, which is no kind of limit: there are {}", known.join(", ")));
        };
        if of_address && !row.has_address {
            return Err(format!("names {name}, but {kind} is counted for a session, not for an address"));
        }
        Ok(if of_address || row.narrow_scope.is_none() { &mut row.address } else { &mut row.narrow })
    }
}

/// `20/20s`, `400/8s`, `600/10m`.
fn quota(text: &str) -> Result<Quota, String> {
    let read = || {
        let (burst, period) = text.split_once('/')?;
        let (number, unit) = match period.trim().strip_suffix('m') {
            Some(minutes) => (minutes, 60),
            None => (period.trim().strip_suffix('s')?, 1),
        };
        let secs = number.trim().parse::<u64>().ok()?.checked_mul(unit)?;
        Quota::new(burst.trim().parse().ok()?, Duration::from_secs(secs))
    };
    read().ok_or_else(|| {
        format!(
            "holds {text:?}: give off, or how many at once and in how many seconds or minutes, such as 20/20s or \
             600/10m (1 to 1000000 in 1 to 86400 seconds)"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Rules {
        Rules::parse(text).unwrap().unwrap()
    }

    #[test]
    fn the_table_is_in_the_order_of_the_kinds() {
        for (index, row) in DEFAULTS.iter().enumerate() {
            assert_eq!(row.kind as usize, index, "{}", row.name);
        }
    }

    #[test]
    fn on_is_the_defaults_and_off_is_none() {
        assert_eq!(rules(" ON "), Rules::default());
        assert_eq!(Rules::parse("off").unwrap(), None);
    }

    #[test]
    fn a_change_leaves_the_other_defaults_alone() {
        let rules = rules("start=10/60s, start.address=off , signal=50/1s,auth=5/1m");
        assert_eq!(rules.quota(Kind::Start, Scope::User), Some(Quota::of(10, 60)));
        assert_eq!(rules.quota(Kind::Start, Scope::Address), None);
        assert_eq!(rules.quota(Kind::Signal, Scope::Session), Some(Quota::of(50, 1)));
        assert_eq!(rules.quota(Kind::Auth, Scope::Address), Some(Quota::of(5, 60)));
        assert_eq!(rules.quota(Kind::Invite, Scope::User), Rules::default().quota(Kind::Invite, Scope::User));
    }

    #[test]
    fn addresses_can_be_left_uncounted_altogether() {
        let rules = rules("address=off,start.address=7/1s");
        for kind in Kind::all().filter(|kind| *kind != Kind::Start) {
            assert_eq!(rules.quota(kind, Scope::Address), None, "{}", kind.as_str());
        }
        assert_eq!(rules.quota(Kind::Start, Scope::Address), Some(Quota::of(7, 1)));
        assert_eq!(rules.quota(Kind::Start, Scope::User), Rules::default().quota(Kind::Start, Scope::User));
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_what_would_be_right() {
        for (text, says) in [
            ("maybe", "give on, off"),
            ("", "give on, off"),
            ("on,start=1/1s", "give on, off"),
            ("start=10", "such as 20/20s"),
            ("start=10/60", "such as 20/20s"),
            ("start=0/60s", "1 to 1000000"),
            ("start=10/0s", "1 to 86400"),
            ("start=10/9999m", "1 to 86400"),
            ("start=-1/1s", "such as 20/20s"),
            ("stat=10/60s", "there are connect, auth, start"),
            ("signal.address=1/1s", "counted for a session"),
            ("address=1/1s", "can only be off"),
            ("start=1/1s,start=2/1s", "names start twice"),
            ("auth=1/1s,auth.address=2/1s", "twice"),
        ] {
            let error = Rules::parse(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}

use super::*;

fn limits(rules: &str) -> Limits {
    Limits {
        rules: Rules::parse(rules).unwrap(),
        cells: Cells::default(),
        charges: None,
        began: clock::monotonic(),
        refused: Tally::default(),
    }
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn from(address: &str) -> ClientAddress {
    ClientAddress::new(address.parse().unwrap())
}

/// How many of these pass at once.
fn passed(times: usize, mut one: impl FnMut() -> Result<(), Refusal>) -> usize {
    (0..times).filter(|_| one().is_ok()).count()
}

#[test]
fn users_are_counted_apart_and_kinds_too() {
    let limits = limits("start=3/60m,invite=2/60m");
    let here = from("192.0.2.1");
    assert_eq!(passed(10, || limits.by_user(Kind::Start, &user("alice"), here)), 3);
    assert_eq!(passed(10, || limits.by_user(Kind::Invite, &user("alice"), here)), 2);
    assert_eq!(passed(10, || limits.by_user(Kind::Start, &user("bob"), here)), 3);
}

#[test]
fn an_address_is_counted_over_all_its_users_and_one_over_their_own_limit_costs_the_others_nothing() {
    let limits = limits("start=3/60m,start.address=5/60m");
    let here = from("192.0.2.1");
    assert_eq!(passed(100, || limits.by_user(Kind::Start, &user("alice"), here)), 3);
    assert_eq!(passed(10, || limits.by_user(Kind::Start, &user("bob"), here)), 2);
    assert_eq!(passed(10, || limits.by_user(Kind::Start, &user("carol"), from("192.0.2.2"))), 3);
}

#[test]
fn an_ipv6_customer_is_one_address_whatever_host_they_choose() {
    let limits = limits("connect.address=2/60m");
    let connect = |address| limits.by_address(Kind::Connect, from(address)).is_ok();
    assert!(connect("2001:db8:0:1::1") && connect("2001:db8:0:1:ffff::2"));
    assert!(!connect("2001:db8:0:1:1234:5678:9abc:def0"));
    assert!(connect("2001:db8:0:2::1"), "the neighbour");
    assert!(
        connect("192.0.2.1") && connect("::ffff:192.0.2.1") && !connect("192.0.2.1"),
        "one IPv4 address, two spellings"
    );
}

#[test]
fn credentials_are_looked_at_until_too_many_were_bad() {
    let limits = limits("auth=3/60m");
    let here = from("192.0.2.1");
    for _ in 0..3 {
        assert!(limits.may_authenticate(here).is_ok(), "looking costs nothing");
        assert!(limits.may_authenticate(here).is_ok());
        limits.on_bad_credentials(here);
    }
    let refusal = limits.may_authenticate(here).unwrap_err();
    assert_eq!(refusal.code, ErrorCode::RateLimited);
    assert!(limits.may_authenticate(from("192.0.2.2")).is_ok());
}

#[test]
fn a_refusal_says_how_long_to_wait_and_is_retryable() {
    let limits = limits("start=1/60s");
    limits.by_user(Kind::Start, &user("alice"), from("192.0.2.1")).unwrap();
    let refusal = limits.by_user(Kind::Start, &user("alice"), from("192.0.2.1")).unwrap_err();
    assert!(refusal.retryable);
    let wait = retry_after(&refusal).unwrap();
    assert!(wait > Duration::from_secs(50) && wait <= Duration::from_secs(60), "{wait:?}");
    assert_eq!(retry_after(&Refusal::new(ErrorCode::RateLimited, "by another")), None);
}

#[test]
fn a_session_is_refused_signals_by_its_own_pace_and_found_to_flood() {
    let limits = limits("signal=5/60m,flood=3/60m");
    let (mut one, mut other) = (Pace::default(), Pace::default());
    assert_eq!((0..20).filter(|_| one.signal(&limits).is_ok()).count(), 5);
    assert_eq!((0..20).filter(|_| other.signal(&limits).is_ok()).count(), 5);
    assert_eq!((0..20).filter(|_| one.nuisance(&limits).is_ok()).count(), 3);
}

#[test]
fn off_refuses_nothing() {
    let limits = limits("off");
    let here = from("192.0.2.1");
    assert_eq!(passed(100_000, || limits.by_user(Kind::Start, &user("alice"), here)), 100_000);
    let mut pace = Pace::default();
    assert!((0..100_000).all(|_| pace.signal(&limits).is_ok() && pace.nuisance(&limits).is_ok()));
}

#[test]
fn the_word_of_the_cluster_refuses_what_this_node_alone_would_let_pass() {
    let limits = limits("start=10/60m,start.address=off");
    let alice = user("alice");
    limits.by_user(Kind::Start, &alice, from("192.0.2.1")).unwrap();
    limits.on_settled(key(Kind::Start, Scope::User, b"alice"), 3_600_000_000);
    assert!(limits.by_user(Kind::Start, &alice, from("192.0.2.1")).is_err());
}

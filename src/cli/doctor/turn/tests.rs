//! Addresses taken apart, and messages as the RFCs have them.

use super::{super::stun, *};

fn of(host: &str, port: u16, way: Way) -> Option<Place> {
    Some(Place { host: host.to_owned(), port, way })
}

#[test]
fn an_address_names_host_port_and_way() {
    for (url, wanted) in [
        ("stun:a.example", of("a.example", 3478, Way::Udp)),
        ("turn:a.example:99?transport=udp", of("a.example", 99, Way::Udp)),
        ("turn:192.0.2.1?transport=tcp", of("192.0.2.1", 3478, Way::Tcp)),
        ("turns:a.example?transport=tcp", of("a.example", 5349, Way::Tls)),
        ("turns:[2001:db8::1]:443", of("2001:db8::1", 443, Way::Tls)),
        ("turn:[::1]", of("::1", 3478, Way::Udp)),
        ("turn:a:b", None),
        ("turns:a?transport=udp", None),
        ("turn:a?transport=carrier-pigeon", None),
    ] {
        assert_eq!(place(url), wanted, "{url}");
    }
}

#[test]
fn addresses_that_only_a_network_knows_are_private() {
    for ip in [
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "127.0.0.1",
        "100.64.0.1",
        "169.254.1.1",
        "::1",
        "fd00::1",
        "::ffff:10.0.0.1",
    ] {
        assert!(is_private(ip.parse().unwrap()), "{ip}");
    }
    for ip in ["192.0.2.1", "100.128.0.1", "172.32.0.1", "2001:db8::1"] {
        assert!(!is_private(ip.parse().unwrap()), "{ip}");
    }
}

/// RFC 5769, 2.2: a response with an address, a software name and a sum; its key is a short-term one, so the sum is not
/// looked at here.
const SAMPLE: &[u8] = b"\x01\x01\x00\x3c\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
    \x80\x22\x00\x0btest vector \x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43\
    \x00\x08\x00\x14\x2b\x91\xf5\x99\xfd\x9e\x90\xc3\x8c\x74\x89\xf9\x2a\xf9\xba\x53\xf0\x6b\xe7\xd7\
    \x80\x28\x00\x04\xc0\x7d\x4c\x96";
const ID: [u8; 12] = [0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae];

#[test]
fn an_answer_of_the_rfc_is_read_and_one_to_somebody_else_is_not() {
    let read = stun::answer(SAMPLE, BINDING, ID, None).unwrap();
    assert!(read.success);
    assert_eq!(read.mapped, Some("192.0.2.1:32853".parse().unwrap()));
    assert_eq!(stun::answer(SAMPLE, ALLOCATE, ID, None), None);
    assert_eq!(stun::answer(SAMPLE, BINDING, [0; 12], None), None);
}

#[test]
fn no_bytes_of_any_length_are_more_than_no_answer() {
    for length in 0..SAMPLE.len() {
        assert_eq!(stun::answer(&SAMPLE[..length], BINDING, ID, None), None, "{length}");
    }
    for at in 20..SAMPLE.len() {
        let mut bent = SAMPLE.to_vec();
        bent[at] = 0xff;
        // Whatever it makes of them.
        let _ = stun::answer(&bent, BINDING, ID, None);
    }
}

#[test]
fn a_request_signs_itself_so_that_only_its_account_finds_it_right() {
    let account = Account { username: "u", password: "p", realm: "r", nonce: b"n" };
    let mut message = stun::request(ALLOCATE, ID, None, Some(&account));
    assert_eq!(usize::from(u16::from_be_bytes([message[2], message[3]])) + 20, message.len());
    // Turned into a success, the sum is over other bytes.
    message[0] |= 1;
    let read = stun::answer(&message, ALLOCATE, ID, Some(&account)).unwrap();
    assert_eq!(read.signed, Some(false));
    assert_eq!((read.realm.as_deref(), read.nonce.as_deref()), (Some("r"), Some(&b"n"[..])));
}

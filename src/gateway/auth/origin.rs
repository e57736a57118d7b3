//! Which pages may open a socket: an exact list, and always the node's own page.
//!
//! Must never match by suffix or prefix, or take `null` (sandboxed frames, files) for anything.

use reqwest::Url;

/// An origin as browsers write it (`https://example.org`, a port only if it is not the scheme's), or `None` if the text
/// is none: only http and https, no path, no user, not `null`, no `*`.
pub fn normalized_origin(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let anonymous = url.username().is_empty() && url.password().is_none();
    let wildcard = url.host_str().is_none_or(|host| host.contains('*'));
    (bare && anonymous && !wildcard && matches!(url.scheme(), "http" | "https"))
        .then(|| url.origin().ascii_serialization())
}

/// Whether a page of `origin` may open a socket here: it is on the list (normalized, see [`normalized_origin`]), or it
/// is our own, that is, it has the host and port of the request's `Host`. The scheme is not compared for that: TLS may
/// end at a proxy in front.
pub fn origin_allowed(origin: &str, host: Option<&str>, allowed: &[String]) -> bool {
    let Some(origin) = normalized_origin(origin) else { return false };
    if allowed.contains(&origin) {
        return true;
    }
    let (Some(host), Ok(origin)) = (host, Url::parse(&origin)) else { return false };
    let Ok(here) = Url::parse(&format!("{}://{host}/", origin.scheme())) else { return false };
    here.path() == "/" && here.username().is_empty() && here.origin() == origin.origin()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nodes_own_page_is_allowed_with_any_spelling_of_its_port() {
        assert!(origin_allowed("http://localhost:8080", Some("localhost:8080"), &[]));
        assert!(origin_allowed("https://call.example", Some("call.example"), &[]));
        assert!(origin_allowed("https://call.example", Some("call.example:443"), &[]));
        assert!(origin_allowed("http://[::1]:8080", Some("[::1]:8080"), &[]));
        assert!(!origin_allowed("http://localhost:8081", Some("localhost:8080"), &[]));
        assert!(!origin_allowed("https://call.example", None, &[]));
    }

    #[test]
    fn other_pages_are_allowed_by_exact_origin_only() {
        let allowed = ["https://app.example".to_owned()];
        let from = |origin| origin_allowed(origin, Some("call.example"), &allowed);
        assert!(from("https://app.example"));
        assert!(from("https://app.example:443"));
        assert!(!from("http://app.example"));
        assert!(!from("https://app.example.evil.example"));
        assert!(!from("https://evilapp.example"));
        assert!(!from("https://app.example@evil.example"));
        assert!(!from("https://call.example@evil.example"));
        assert!(!from("null"));
        assert!(!from(""));
        assert!(!from("file://"));
    }

    #[test]
    fn a_list_entry_is_normalized_or_refused() {
        assert_eq!(normalized_origin("HTTPS://App.Example:443/").as_deref(), Some("https://app.example"));
        assert_eq!(normalized_origin("http://a.example:8080").as_deref(), Some("http://a.example:8080"));
        for wrong in ["*", "null", "a.example", "https://*.a.example", "https://a.example/path", "wss://a.example"] {
            assert_eq!(normalized_origin(wrong), None, "{wrong}");
        }
    }
}

//! Whether LiveKit answers, and whether it knows us.
//!
//! Asks as livekit-api does, but reads the status itself: a key or secret that is not LiveKit's is refused in plain text,
//! which livekit-api cannot tell from a server in trouble. That mistake is made when things are set up, and should be
//! named.

use livekit_api::{
    access_token::{AccessToken, VideoGrants},
    services::{ServerError, ServerErrorCode, ServiceError, ServiceResult},
};
use reqwest::{StatusCode, header::CONTENT_TYPE};

use super::{LiveKitConfig, Media, MediaError, livekit::ATTEMPT_TIMEOUT};

/// Cheap to answer: a list of the one room of a name that no call has, since an id holds no space.
const QUESTION: &str = r#"{"names":[" "]}"#;
const PATH: &str = "/twirp/livekit.RoomService/ListRooms";

impl Media {
    /// Whether LiveKit answers: one attempt.
    ///
    /// # Errors
    /// `Refused`: it is there and does not take our key. `Unavailable`: anything else.
    pub async fn probe(&self) -> Result<(), MediaError> {
        let config = self.livekit_config()?.clone();
        let http = self.livekit()?.http().clone();
        let attempt = move |_| Box::pin(ask(http.clone(), config.clone())) as _;
        self.livekit()?.request("probe", 1, attempt).await
    }
}

async fn ask(http: reqwest::Client, config: LiveKitConfig) -> ServiceResult<()> {
    let grants = VideoGrants { room_list: true, ..VideoGrants::default() };
    let token = AccessToken::with_api_key(&config.api_key, config.api_secret.reveal())
        .with_ttl(ATTEMPT_TIMEOUT * 20)
        .with_grants(grants)
        .to_jwt()?;
    let address = format!("{}{PATH}", http_address(&config.url));
    let request = http.post(address).bearer_auth(token).header(CONTENT_TYPE, "application/json").body(QUESTION);
    let response = request.timeout(ATTEMPT_TIMEOUT).send().await.map_err(ServerError::Request)?;
    let code = match response.status() {
        StatusCode::OK => return Ok(()),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ServerErrorCode::UNAUTHENTICATED,
        _ => ServerErrorCode::UNAVAILABLE,
    };
    let error = ServerErrorCode { code: code.to_owned(), msg: String::new(), meta: Default::default() };
    Err(ServiceError::Twirp(ServerError::Twirp(error)))
}

/// The address of LiveKit's API, from one that may be of its sockets.
pub(super) fn http_address(url: &str) -> String {
    let url = url.trim_end_matches('/');
    let plain = url.strip_prefix("ws://").map(|rest| format!("http://{rest}"));
    let secure = || url.strip_prefix("wss://").map(|rest| format!("https://{rest}"));
    plain.or_else(secure).unwrap_or_else(|| url.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn livekits_api_is_where_its_sockets_are() {
        for (url, wanted) in [
            ("ws://l:7880", "http://l:7880"),
            ("wss://l.example/", "https://l.example"),
            ("http://l:7880", "http://l:7880"),
            ("https://l.example", "https://l.example"),
        ] {
            assert_eq!(http_address(url), wanted);
        }
    }
}

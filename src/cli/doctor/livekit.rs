//! LiveKit: whether it is there for nodes and for browsers, takes our key, makes no rooms by itself, and has a way to
//! recorders.

use std::time::Duration;

use super::{
    clock::Samples,
    net::{STEP, Trouble, reach},
    report::Findings,
};
use crate::{
    clock,
    config::Settings,
    domain::Timestamp,
    gateway::auth::Url,
    media::{
        LiveKitConfig,
        inspect::{Question, Said, ask_livekit},
    },
};

/// All that has to do with LiveKit but its webhooks, of which the database knows.
pub(super) async fn check(found: &Findings, settings: &Settings, samples: &Samples) {
    let Some(livekit) = settings.livekit.clone() else {
        return found
            .not_checked("livekit", "LIVEKIT_URL is empty: calls stay between their people, and nothing is recorded");
    };
    let config = LiveKitConfig {
        url: livekit.url,
        public_url: livekit.public_url,
        api_key: livekit.api_key,
        api_secret: livekit.api_secret,
    };
    tokio::join!(nodes(found, settings, &config, samples), browsers(found, &config));
}

/// As a node asks.
async fn nodes(found: &Findings, settings: &Settings, config: &LiveKitConfig, samples: &Samples) {
    const NAME: &str = "livekit.api";
    let asked = clock::now();
    let said = match ask(config, Question::Rooms, &config.url, "LIVEKIT_URL").await {
        Ok(said) => said,
        Err(trouble) => return found.wrong(NAME, trouble.seen, trouble.mend),
    };
    if let Some(date) = said.date.as_deref().and_then(|date| chrono::DateTime::parse_from_rfc2822(date).ok()) {
        let theirs = Timestamp::from_millis(date.timestamp_millis());
        samples.add("clock.livekit", theirs, asked, Duration::from_secs(1));
    }
    match said.status {
        200 => found.ok(NAME, format!("{} takes our key and lists rooms", config.url)),
        401 | 403 => {
            return found.wrong(
                NAME,
                format!("{} is there and does not take LIVEKIT_API_KEY and LIVEKIT_API_SECRET: {}", config.url, said.words),
                "both must stand under `keys:` in livekit.yaml, letter for letter; a clock that is minutes off is refused in the \
                 same way",
            );
        }
        status => {
            return found.wrong(
                NAME,
                format!("{} answers {status}: {}", config.url, said.words),
                "LIVEKIT_URL must lead to LiveKit's own port (7880), or to a proxy that passes /twirp to it",
            );
        }
    }
    egress(found, settings, config).await;
}

async fn egress(found: &Findings, settings: &Settings, config: &LiveKitConfig) {
    const NAME: &str = "livekit.egress";
    if settings.recordings.files.is_none() {
        return found
            .not_checked(NAME, "nothing is to be recorded: neither RECORDINGS_DIR nor RECORDINGS_S3_BUCKET is set");
    }
    let mend = "LiveKit needs a Redis of its own (redis: in livekit.yaml) that it shares with livekit-egress (docs/recordings.md)";
    match ask(config, Question::Egresses, &config.url, "LIVEKIT_URL").await {
        Ok(Said { status: 200, .. }) => found.by_hand(
            NAME,
            "LiveKit takes requests for recordings; whether a recorder runs it cannot be asked",
            "start livekit-egress on LiveKit's Redis, record a call, and see that recording:ready comes",
        ),
        Ok(said) => {
            found.wrong(NAME, format!("LiveKit has no way to recorders ({}): {}", said.status, said.words), mend)
        }
        Err(trouble) => found.wrong(NAME, trouble.seen, trouble.mend),
    }
}

/// As a browser asks before it opens a socket.
async fn browsers(found: &Findings, config: &LiveKitConfig) {
    const NAME: &str = "livekit.public";
    let public = &config.public_url;
    let said = match ask(config, Question::Entry, public, "LIVEKIT_PUBLIC_URL").await {
        Ok(said) => said,
        Err(trouble) => {
            let mend = format!("{}; seen from here, browsers may see it otherwise", trouble.mend);
            return found.wrong(NAME, trouble.seen, mend);
        }
    };
    let known = |found: &Findings| {
        if public.starts_with("ws://") && !is_local(public) {
            found.warning(
                NAME,
                format!("{public} is there, without TLS: a page that came by https may not open it"),
                "put TLS in front of LiveKit, and name it wss:// in LIVEKIT_PUBLIC_URL",
            );
        } else {
            found.ok(NAME, format!("{public} is LiveKit, and takes our tokens"));
        }
    };
    match said.status {
        // The room is not there, and the token does not make it.
        404 if said.words.contains("room") => {
            known(found);
            found.ok("livekit.auto_create", "off: only Carillon makes rooms");
        }
        200 => {
            known(found);
            found.warning(
                "livekit.auto_create",
                "on: a token of a call that is over makes its room anew, where nobody sees who talks",
                "room.auto_create: false in livekit.yaml (docs/media.md)",
            );
        }
        401 | 403 => found.wrong(
            NAME,
            format!("{public} does not take our tokens: {}", said.words),
            "LIVEKIT_PUBLIC_URL must lead to the LiveKit of LIVEKIT_URL, and key and secret be the same",
        ),
        status => found.wrong(
            NAME,
            format!("{public} answers {status} to who wants to come in: {}", said.words),
            "LIVEKIT_PUBLIC_URL must lead to LiveKit's own port (7880), or to a proxy that passes /rtc to it, WebSockets too",
        ),
    }
}

fn is_local(url: &str) -> bool {
    let host = Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    host == "localhost" || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

async fn ask(config: &LiveKitConfig, question: Question, url: &str, setting: &str) -> Result<Said, Trouble> {
    if let Ok(parsed) = Url::parse(url) {
        let secure = matches!(parsed.scheme(), "wss" | "https");
        let port = parsed.port().unwrap_or(if secure { 443 } else { 80 });
        reach(parsed.host_str().unwrap_or_default(), port, setting).await?;
    }
    ask_livekit(config, question, STEP).await.map_err(|words| {
        Trouble::new(
            format!("{url} gives no answer: {words}"),
            format!("see whether LiveKit is stopped, and whether {setting} has the right scheme (wss:// is TLS) and certificate"),
        )
    })
}

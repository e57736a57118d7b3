//! Commands with an idempotency key: each has its effect once and gives its first answer, however often, by whichever
//! way and on whichever node it is repeated.

#[cfg(feature = "failpoints")]
mod crashes;
mod every_command;
mod natural;
mod races;
mod refusals;

use serde_json::{Value, json};

use crate::support::{TestClient, TestCluster, rest::RestUser};

/// An answer without what is made anew each time: data, or a code.
type Said = Result<Value, String>;

fn said(answer: Result<Value, String>) -> Said {
    answer.map(|mut data| {
        if let Some(fields) = data.as_object_mut() {
            fields.remove("media");
        }
        data
    })
}

async fn by_socket(client: &TestClient, event: &str, key: &str, data: &Value) -> Said {
    said(client.call_keyed(event, Some(key), data.clone()).await.map_err(|error| error.code))
}

async fn by_rest(rest: &RestUser, event: &str, key: &str, data: &Value) -> Said {
    let mut answer = rest.send(event, Some(key), data.clone()).await;
    if let Some(fields) = answer.body.as_object_mut() {
        // Where a start's events are heard: who asks over a socket hears them there.
        fields.remove("listen");
    }
    said(if answer.ok() { Ok(answer.body) } else { Err(answer.code().to_owned()) })
}

/// Everywhere that a user can send a command: two devices, on two nodes, and REST on both.
struct Everywhere {
    user: String,
    near: TestClient,
    far: TestClient,
    rest: [RestUser; 2],
    /// By REST, as the near device.
    near_rest: RestUser,
}

impl Everywhere {
    async fn of(cluster: &TestCluster, user: &str, number: usize) -> Self {
        Self {
            user: user.to_owned(),
            near: cluster.connect(number, user, "phone").await,
            far: cluster.connect(number + 1, user, "laptop").await,
            rest: [cluster.rest(number, user), cluster.rest(number + 1, user)],
            near_rest: cluster.rest(number + 1, user).at("phone"),
        }
    }

    /// Repeats a command by every way.
    async fn repeat(&self, event: &str, key: &str, data: &Value) -> Vec<Said> {
        let mut answers = Vec::new();
        for client in [&self.near, &self.far] {
            answers.push(by_socket(client, event, key, data).await);
        }
        for rest in &self.rest {
            answers.push(by_rest(rest, event, key, data).await);
        }
        answers
    }

    /// Sends a command by the near device, and repeats it by every way: the same answer, no further effect; with another
    /// body it is a conflict. The answer.
    async fn once(&self, event: &str, data: Value) -> Said {
        let key = format!("{}-{event}-{:x}", self.user, rand::random::<u64>());
        let first = by_socket(&self.near, event, &key, &data).await;
        self.is_settled(event, &key, data, first).await
    }

    /// The same with the first try by REST.
    async fn once_by_rest(&self, event: &str, data: Value) -> Said {
        let key = format!("{}-{event}-{:x}", self.user, rand::random::<u64>());
        let first = by_rest(&self.near_rest, event, &key, &data).await;
        self.is_settled(event, &key, data, first).await
    }

    async fn is_settled(&self, event: &str, key: &str, data: Value, first: Said) -> Said {
        let call = data["callId"].as_str().map(str::to_owned);
        let call = call.or_else(|| Some(first.as_ref().ok()?["call"]["callId"].as_str()?.to_owned()));
        let before = self.look(call.as_deref()).await;
        for (way, again) in self.repeat(event, key, &data).await.into_iter().enumerate() {
            assert_eq!(again, first, "{event} repeated by way {way}");
        }
        let mut other = data.clone();
        other["another"] = json!("body");
        for (way, again) in self.repeat(event, key, &other).await.into_iter().enumerate() {
            assert_eq!(again, Err("conflict".to_owned()), "{event} with another body by way {way}");
        }
        assert_eq!(self.look(call.as_deref()).await, before, "{event} had another effect");
        first
    }

    /// The call as it stands, without what time alone changes.
    async fn look(&self, call: Option<&str>) -> Option<Value> {
        let mut call = self.near.call("call:get", json!({"callId": call?})).await.ok()?["call"].clone();
        call.as_object_mut()?.remove("durationSecs");
        for participant in call["participants"].as_array_mut()? {
            participant.as_object_mut()?.remove("durationSecs");
        }
        Some(call)
    }
}

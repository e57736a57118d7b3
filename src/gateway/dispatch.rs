//! Commands on their way to the actors and back, however they came: by a socket or by REST.
//!
//! Decides nothing about a call. What is asked of a call is sent before anything is waited for, so that the commands of
//! one client keep their order.

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::{
    Gateway,
    edge::Who,
    protocol::{ReplyShape, Reported, Request, SignalData, StartData, StartMode},
    quality,
};
use crate::{
    actors::{
        Answer, Ask, Caller,
        keyed::CommandKey,
        messages::{Receipt, SignalRequest},
        start::StartRequest,
    },
    domain::{CallId, CallMode, CallType, Start, UserId},
    wire::{CallView, Frame, Refusal, frame::Writer},
};

type Outcome = Result<Answer, Refusal>;

/// A command that has been sent; what it waits for.
pub enum Pending {
    Asked {
        answer: BoxFuture<'static, Outcome>,
        reply: ReplyShape,
        who: Who,
        keyed: Option<Caller>,
    },
    /// A call is begun; `call` is the id asked for.
    Begun {
        answer: oneshot::Receiver<Outcome>,
        call: CallId,
        who: Who,
        keyed: Option<Caller>,
    },
    /// Changes nothing, so it is done anew each time; only the use of its key is noted.
    Looked {
        answer: BoxFuture<'static, Outcome>,
        noted: Option<(CommandKey, CallId, UserId)>,
        who: Who,
    },
    Presence {
        users: Vec<UserId>,
    },
    Reported {
        reported: Reported,
        caller: Caller,
        key: Option<CommandKey>,
    },
}

/// Sends a command. What concerns only a session, and signals, are not for here. `name`: as the caller's token has it.
pub fn send(
    gateway: &Gateway,
    request: Request,
    caller: Caller,
    name: Option<&str>,
    key: Option<CommandKey>,
) -> Result<Pending, Refusal> {
    match request {
        Request::Call { call, ask, reply: ReplyShape::Media } => {
            let noted = key.map(|key| (key, call.clone(), caller.user.clone()));
            let who = Who::of(&caller);
            Ok(Pending::Looked { answer: gateway.node.ask_for(&call, caller, ask), noted, who })
        }
        Request::Call { call, ask, reply } => {
            let (who, keyed) = (Who::of(&caller), key.map(|_| caller.clone()));
            Ok(Pending::Asked { answer: gateway.node.ask_once(&call, caller, ask, key), reply, who, keyed })
        }
        Request::Start(data) => begin(gateway, *data, caller, name, key),
        Request::Presence { users } => Ok(Pending::Presence { users }),
        Request::Quality(reported) => Ok(Pending::Reported { reported, caller, key }),
        Request::Hello(_) | Request::Refresh { .. } | Request::Signal(_) => Err(Refusal::invalid("unknown command")),
    }
}

fn begin(
    gateway: &Gateway,
    data: StartData,
    caller: Caller,
    name: Option<&str>,
    key: Option<CommandKey>,
) -> Result<Pending, Refusal> {
    // Of a key too: two starts with the same one want the same call, whichever node each arrives at.
    let own_id = data.call_id.is_some() || key.is_some();
    let ring_timeout = data.ring_timeout();
    let made = || key.map_or_else(|| CallId::new(uuid::Uuid::now_v7().to_string()).ok(), |key| key.call());
    let (who, keyed) = (Who::of(&caller), key.map(|_| caller.clone()));
    let call = data.call_id.or_else(made).ok_or_else(|| Refusal::invalid("callId"))?;
    let request = StartRequest {
        start: Start {
            call: call.clone(),
            call_type: data.call_type.unwrap_or(CallType::Audio),
            mode: if data.mode == Some(StartMode::Sfu) { CallMode::Sfu } else { CallMode::P2p },
            escalates: matches!(data.mode, None | Some(StartMode::Auto)),
            initiator: caller.user.clone(),
            initiator_name: name.map(str::to_owned),
            device: caller.device.clone(),
            group: data.group_id,
            callees: data.callee_ids.unwrap_or_default(),
            ring_timeout,
            offer: data.offer,
            metadata: data.metadata,
        },
        ring: data.ring.unwrap_or(true),
        own_id,
        caller,
        key,
    };
    Ok(Pending::Begun { answer: gateway.node.start_call_for(request), call, who, keyed })
}

/// Sends a signal; its outcome goes to the receipt.
pub fn signal(gateway: &Gateway, signal: SignalData, caller: Caller, key: Option<CommandKey>, receipt: Receipt) {
    gateway.node.signal(SignalRequest {
        call: signal.call,
        from: caller.user,
        from_device: caller.device,
        kind: signal.kind,
        to: signal.to,
        to_device: signal.to_device,
        payload: signal.payload,
        receipt,
        key,
    });
}

impl Pending {
    /// The data of the reply, once it is there.
    pub async fn reply(self, gateway: &Gateway) -> Result<Frame, Refusal> {
        match self {
            Self::Asked { answer, reply: ReplyShape::CallAndMedia, who, keyed } => {
                Ok(with_media(gateway, &answer.await?, &who, keyed).await)
            }
            Self::Asked { answer, reply, who, .. } => Ok(shape(gateway, reply, &answer.await?, &who)),
            Self::Begun { answer, who, keyed, .. } => {
                let answer = answer.await.map_err(|_| Refusal::unavailable("the node is stopping"))??;
                Ok(with_media(gateway, &answer, &who, keyed).await)
            }
            Self::Looked { answer, noted, who } => {
                let media = match answer.await? {
                    Answer::Call(call) => gateway.media_or_refusal(&who, &call)?,
                    _ => gateway.peer_media(&who),
                };
                if let Some((key, call, user)) = noted {
                    gateway.node.note_key(&key, &call, &user).await?;
                }
                let mut data = Writer::with_capacity(128);
                data.raw("{\"media\":").value(&media).raw("}");
                Ok(data.done())
            }
            Self::Presence { users } => presence(gateway, &users).await,
            Self::Reported { reported, caller, key } => quality::report(gateway, reported, caller, key).await,
        }
    }
}

async fn presence(gateway: &Gateway, users: &[UserId]) -> Result<Frame, Refusal> {
    let bus = gateway.node.bus().ok_or_else(|| Refusal::unavailable("the node is starting"))?;
    let online = bus.online(users).await.map_err(|error| Refusal::unavailable(error.to_string()))?;
    let there: Vec<&UserId> = users.iter().zip(online).filter(|(_, on)| *on).map(|(user, _)| user).collect();
    let mut data = Writer::with_capacity(64);
    data.raw("{\"online\":").value(&there).raw("}");
    Ok(data.done())
}

/// `keyed`: the answer may be one on record, and its asker no more in the call that they came into then.
async fn with_media(gateway: &Gateway, answer: &Answer, who: &Who, keyed: Option<Caller>) -> Frame {
    let mut out = Writer::with_capacity(1024);
    match answer {
        Answer::Call(call) => {
            let media = match keyed.filter(|_| CallView::may_have_room(call)) {
                None => gateway.media(who, call),
                Some(caller) => match standing_now(gateway, call, caller).await {
                    Ok(Answer::Call(now)) => gateway.media(who, &now),
                    _ => gateway.peer_media(who).of_mode(CallMode::Sfu),
                },
            };
            out.raw("{\"call\":").raw(call.text()).field("media", &media).raw("}")
        }
        Answer::Lobby => out.raw("{\"lobby\":true}"),
        _ => out.raw("{}"),
    };
    out.done()
}

async fn standing_now(gateway: &Gateway, call: &Frame, caller: Caller) -> Outcome {
    let call = CallView::read(call)?.call_id;
    gateway.node.ask(&call, caller, Ask::Get).await
}

/// The recording in a call object.
fn recording_of(call: &Frame) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Recorded<'a> {
        #[serde(borrow)]
        recording: Option<&'a serde_json::value::RawValue>,
    }
    let recorded: Recorded = serde_json::from_str(call.text()).ok()?;
    recorded.recording.map(|recording| recording.get().to_owned())
}

/// The data of a reply.
fn shape(gateway: &Gateway, reply: ReplyShape, answer: &Answer, who: &Who) -> Frame {
    let mut out = Writer::with_capacity(1024);
    match (reply, answer) {
        (ReplyShape::Call, Answer::Call(call)) => {
            out.raw("{\"call\":").raw(call.text()).raw("}");
        }
        (ReplyShape::Recording, Answer::Call(call)) => {
            out.raw("{\"recording\":").raw(recording_of(call).as_deref().unwrap_or("null")).raw("}");
        }
        (ReplyShape::Events, Answer::Missed(missed)) => {
            out.raw("{\"events\":[");
            for (i, frame) in missed.for_device(&gateway.node, &who.user, &who.device).iter().enumerate() {
                out.raw(if i > 0 { "," } else { "" }).raw(frame.text());
            }
            out.raw("]}");
        }
        _ => {
            out.raw("{}");
        }
    }
    out.done()
}

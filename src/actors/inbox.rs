//! What arrives from other nodes, handed to the actors it is for.
//!
//! Runs on the bus's thread, so it only decodes and forwards. Input is from nodes of this cluster, yet nothing in it is
//! trusted to be well formed.

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use serde::de::DeserializeOwned;

use super::{
    Answer, NodeHandle,
    messages::{Delivery, ItemHead, Receipt, SignalDelivery, SignalHead, SignalRequest, ToNode, ToUser},
    spans, user,
};
use crate::{
    clock,
    cluster::{
        bus,
        envelope::{self, Envelope},
    },
    domain::UserId,
    trace,
    wire::{Frame, render::Item},
};

/// The receiving end of the bus.
pub struct Inbox {
    node: NodeHandle,
}

impl Inbox {
    /// An inbox that hands to the actors of this node.
    pub fn new(node: NodeHandle) -> Arc<Self> {
        Arc::new(Self { node })
    }

    fn decode<B: DeserializeOwned>(&self, message: Bytes) -> Option<Envelope<B>> {
        // The bytes are shared, not copied.
        let again = message.clone();
        envelope::decode(message).inspect_err(|error| self.node.drop_unread(again, error)).ok()
    }
}

impl bus::Inbox for Inbox {
    fn on_node_message(&self, message: Bytes) {
        let Some(Envelope { from, trace, body, mut blobs }) = self.decode::<ToNode>(message) else { return };
        let node = &self.node;
        match body {
            ToNode::Ask { id, command, call, caller, ask, hops } => {
                let serving = node.clone();
                let mut span = spans::serve_ask(node, trace, &from, &call);
                let within = span.context().or(trace);
                let serve = async move {
                    let result = serving.ask_hop(&call, command, caller, ask, hops).await;
                    fail::fail_point!("answer-before-send");
                    if let Err(refusal) = &result {
                        span.fail(refusal.code.as_str());
                    }
                    drop(span);
                    if let Err(refusal) = serving.tell_node(&from, &ToNode::Answer { id, result }, &[]) {
                        tracing::debug!(node.id = %from, error = %refusal.message, "answer not published");
                    }
                };
                node.spawn(trace::within(within, serve));
            }
            ToNode::Answer { id, result } => {
                if let Some((_, waiting)) = node.asks.remove(&id) {
                    waiting.end(result);
                }
            }
            ToNode::Signal { call, from: user, from_device, kind, to, to_device, session, ask, origin, key } => {
                let Some(payload) = blobs.next() else { return };
                let receipt = Receipt::There { node: origin.unwrap_or(from), session, ask };
                let payload = Frame::from(payload);
                node.signal_from_afar(SignalRequest {
                    call,
                    from: user,
                    from_device,
                    kind,
                    to,
                    to_device,
                    payload,
                    receipt,
                    key,
                });
            }
            ToNode::HandOver { id, call, parcel } => {
                let taking = node.clone();
                node.spawn(async move {
                    let result = taking.take_handed(from.clone(), call, parcel).await;
                    if let Err(refusal) = taking.tell_node(&from, &ToNode::Answer { id, result }, &[]) {
                        tracing::debug!(node.id = %from, error = %refusal.message, "answer not published");
                    }
                });
            }
            ToNode::Order { id, order } => {
                let obeying = node.clone();
                node.spawn(async move {
                    let result = Ok(Answer::Report(obeying.obey(order).await));
                    if let Err(refusal) = obeying.tell_node(&from, &ToNode::Answer { id, result }, &[]) {
                        tracing::debug!(node.id = %from, error = %refusal.message, "answer not published");
                    }
                });
            }
            ToNode::SignalRefused { session, refusal } => {
                let Some(outbox) = node.directory.session(&session) else { return };
                node.settle(&Receipt::Here { outbox, session, id: None }, Err(refusal));
            }
            ToNode::Digest { calls } => {
                for (call, epoch, seq) in calls {
                    for user in node.directory.followers(&call) {
                        if let Some(addr) = node.directory.user(&user) {
                            // `do_send`: the next digest is two seconds away.
                            addr.do_send(user::Digest { call: call.clone(), epoch, seq });
                        }
                    }
                }
            }
            // Only to itself: the same clock.
            ToNode::Echo { sent_nanos } if from == node.id => node.on_echo(sent_nanos),
            ToNode::Echo { .. } => {}
            ToNode::SignalDelivery { user, head } => {
                if let (Some(addr), Some(frame)) = (node.directory.user(&user), blobs.next()) {
                    // `do_send`: see `Node::deliver_here`.
                    addr.do_send(user::DeliverSignal(signal(head, frame)));
                }
            }
        }
    }

    fn on_user_message(&self, user: &UserId, message: Bytes) {
        let Some(addr) = self.node.directory.user(user) else { return };
        let Some(Envelope { from, trace, body, blobs }) = self.decode::<ToUser>(message) else { return };
        // `do_send` throughout: see `Node::deliver_here`.
        match body {
            ToUser::Delivery { call, epoch, items, standing, unlinked } => {
                let Some(items) = join(items, blobs) else {
                    tracing::warn!(node.id = %self.node.id, from.id = %from, "delivery without its frames dropped");
                    return;
                };
                let at = clock::monotonic();
                let delivery = Delivery { call, epoch, owner: from, items, standing, unlinked, trace, at };
                addr.do_send(user::Deliver(Arc::new(delivery)));
            }
            ToUser::Signal { head } => {
                let mut blobs = blobs;
                if let Some(frame) = blobs.next() {
                    addr.do_send(user::DeliverSignal(signal(head, frame)));
                }
            }
            ToUser::NewOwner { call, epoch, seq } => {
                let mut blobs = blobs;
                let frame = blobs.next().map(Frame::from);
                addr.do_send(user::NewOwner { call, epoch, owner: from, seq, frame });
            }
            ToUser::Word {} => {
                let mut blobs = blobs;
                if let Some(frame) = blobs.next() {
                    addr.do_send(user::Word(frame.into()));
                }
            }
            ToUser::SessionOpened { device, session } => addr.do_send(user::OpenedElsewhere { device, session }),
        }
    }

    fn on_resubscribed(&self) {
        for addr in self.node.directory.all_users() {
            addr.do_send(user::Compare);
        }
    }
}

fn signal(head: SignalHead, frame: ByteString) -> SignalDelivery {
    let SignalHead { call, epoch, sig, device } = head;
    SignalDelivery { call, epoch, sig, device, frame: frame.into() }
}

fn join(heads: Vec<ItemHead>, mut blobs: impl Iterator<Item = ByteString>) -> Option<Vec<Item>> {
    let mut items = Vec::with_capacity(heads.len());
    for ItemHead { seq, prev, rings, device, pass } in heads {
        let frame = Frame::from(blobs.next()?);
        let at_device = match device {
            Some(device) => Some((device, Frame::from(blobs.next()?))),
            None => None,
        };
        items.push(Item { seq, prev, frame, at_device, rings, pass });
    }
    Some(items)
}

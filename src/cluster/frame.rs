//! What is in one PUBLISH: who sent it, and one or more messages.
//!
//! ```text
//! version: u8 = 1 | sender length: u8 | sender | ( message length: u32, big endian | message )*
//! ```
//! Owns this layout and nothing of what a message means. It must never panic on what came in from outside. It survives
//! frames of later versions by naming them as such, so that a cluster can be upgraded node by node.

use bytes::{Buf, Bytes};

use crate::domain::ids::NodeId;

/// The layout above. Another number is another layout.
const VERSION: u8 = 1;

/// Above this a frame takes no further message. Larger, and a receiver that keeps one small message keeps much more memory
/// alive with it; smaller, and each message costs Redis and both nodes nearly a whole PUBLISH of its own.
pub(super) const FULL_FRAME_BYTES: usize = 64 * 1024;

/// Why a frame cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FrameError {
    /// Made by a node with another layout.
    UnknownVersion,
    /// Cut off or garbled.
    Malformed,
}

/// The beginning of every frame this node sends.
pub(super) struct FrameHeader(Vec<u8>);

impl FrameHeader {
    /// The header of a node. Node ids are at most 128 bytes of ASCII.
    pub(super) fn new(node: &NodeId) -> Self {
        let sender = node.as_str().as_bytes();
        let length = u8::try_from(sender.len()).unwrap_or(u8::MAX);
        let mut header = vec![VERSION, length];
        header.extend_from_slice(&sender[..usize::from(length)]);
        Self(header)
    }

    /// Begins a frame in `frame`, which is emptied.
    pub(super) fn begin(&self, frame: &mut Vec<u8>) {
        frame.clear();
        frame.extend_from_slice(&self.0);
    }

    /// Whether this header begins the frame: then it is one of this node's own.
    pub(super) fn begins(&self, frame: &[u8]) -> bool {
        frame.starts_with(&self.0)
    }
}

/// Appends a message to a frame that was begun. Messages are bounded by the queue far below 4 GiB.
pub(super) fn append(frame: &mut Vec<u8>, message: &[u8]) {
    frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
    frame.extend_from_slice(message);
}

/// The messages of a frame, each a slice of it. The first error is the last item.
pub(super) fn messages(mut frame: Bytes) -> Result<Messages, FrameError> {
    if !frame.has_remaining() {
        return Err(FrameError::Malformed);
    }
    if frame.get_u8() != VERSION {
        return Err(FrameError::UnknownVersion);
    }
    if !frame.has_remaining() {
        return Err(FrameError::Malformed);
    }
    let sender = usize::from(frame.get_u8());
    if frame.remaining() < sender {
        return Err(FrameError::Malformed);
    }
    frame.advance(sender);
    Ok(Messages { rest: frame })
}

/// See [`messages`].
pub(super) struct Messages {
    rest: Bytes,
}

impl Iterator for Messages {
    type Item = Result<Bytes, FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.rest.has_remaining() {
            return None;
        }
        if self.rest.remaining() >= 4 {
            let length = self.rest.get_u32() as usize;
            if length == self.rest.remaining() {
                return Some(Ok(std::mem::take(&mut self.rest)));
            }
            if length < self.rest.remaining() {
                return Some(Ok(self.rest.split_to(length)));
            }
        }
        self.rest.clear();
        Some(Err(FrameError::Malformed))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame_of(messages: &[Vec<u8>]) -> Vec<u8> {
        let mut frame = vec![9; 9];
        FrameHeader::new(&NodeId::new("node-a").unwrap()).begin(&mut frame);
        messages.iter().for_each(|message| append(&mut frame, message));
        frame
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(sent: Vec<Vec<u8>>) {
            let received: Vec<_> = messages(frame_of(&sent).into()).unwrap().map(|m| m.unwrap().to_vec()).collect();
            prop_assert_eq!(received, sent);
        }

        #[test]
        fn no_bytes_make_it_panic(garbage: Vec<u8>) {
            if let Ok(messages) = messages(garbage.into()) {
                messages.for_each(drop);
            }
        }

        #[test]
        fn a_frame_cut_off_inside_a_message_is_malformed(sent: Vec<u8>, cut in 1usize..4) {
            let mut frame = frame_of(&[sent]);
            frame.truncate(frame.len() - cut);
            prop_assert_eq!(messages(frame.into()).unwrap().last(), Some(Err(FrameError::Malformed)));
        }
    }

    #[test]
    fn another_version_is_named_as_such() {
        let mut frame = frame_of(&[vec![1]]);
        frame[0] = 2;
        assert_eq!(messages(frame.into()).err(), Some(FrameError::UnknownVersion));
        assert_eq!(messages(Bytes::new()).err(), Some(FrameError::Malformed));
        assert_eq!(messages(Bytes::from_static(&[1])).err(), Some(FrameError::Malformed));
    }

    #[test]
    fn only_its_own_frames_are_a_node_s_own() {
        let frame = frame_of(&[vec![1]]);
        assert!(FrameHeader::new(&NodeId::new("node-a").unwrap()).begins(&frame));
        assert!(!FrameHeader::new(&NodeId::new("node-").unwrap()).begins(&frame));
        assert!(!FrameHeader::new(&NodeId::new("node-ab").unwrap()).begins(&frame));
    }
}

//! Envelopes: how a message between nodes is laid out in the bytes that the bus carries.
//!
//! `u32` length of the head, the head (JSON: version, sender, body, lengths of the blobs), then the blobs. What is for
//! clients travels as blobs, so no node on the way parses it. Unknown fields of the head are skipped; an envelope of an
//! unknown version is refused as such, to be counted and dropped.

use bytes::{Buf, Bytes};
use bytestring::ByteString;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    domain::NodeId,
    trace::{self, TraceContext},
};

/// The version this node writes, and the only one it reads.
pub const VERSION: u8 = 1;

/// Why bytes are no envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    #[error("an envelope of version {0}")]
    UnknownVersion(u8),
    #[error("not an envelope")]
    Malformed,
}

#[derive(Serialize, Deserialize)]
struct Head<B> {
    v: u8,
    from: NodeId,
    /// What it is sent for. Nodes that do not know it skip it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "trace::lenient")]
    trace: Option<TraceContext>,
    body: B,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    blobs: Vec<u32>,
}

#[derive(Deserialize)]
struct Version {
    v: u8,
}

/// A message as received.
#[derive(Debug)]
pub struct Envelope<B> {
    pub from: NodeId,
    /// What it was sent for.
    pub trace: Option<TraceContext>,
    pub body: B,
    pub blobs: std::vec::IntoIter<ByteString>,
}

/// Lays a message out, with the trace that this thread works for. `None` only if `body` cannot be JSON, which no body of ours is.
pub fn encode(from: &NodeId, body: &impl Serialize, blobs: &[&str]) -> Option<Bytes> {
    let lengths: Option<Vec<u32>> = blobs.iter().map(|blob| u32::try_from(blob.len()).ok()).collect();
    let head = Head { v: VERSION, from: from.clone(), trace: trace::current(), body, blobs: lengths? };
    let mut out = Vec::with_capacity(256 + blobs.iter().map(|b| b.len()).sum::<usize>());
    out.extend_from_slice(&[0; 4]);
    serde_json::to_writer(&mut out, &head).ok()?;
    let length = u32::try_from(out.len() - 4).ok()?;
    out.get_mut(..4)?.copy_from_slice(&length.to_be_bytes());
    for blob in blobs {
        out.extend_from_slice(blob.as_bytes());
    }
    Some(out.into())
}

/// Reads a message; blobs share its buffer.
pub fn decode<B: DeserializeOwned>(mut bytes: Bytes) -> Result<Envelope<B>, EnvelopeError> {
    if bytes.len() < 4 {
        return Err(EnvelopeError::Malformed);
    }
    let length = bytes.get_u32() as usize;
    if length > bytes.len() {
        return Err(EnvelopeError::Malformed);
    }
    let head = bytes.split_to(length);
    let head: Head<B> = match serde_json::from_slice(&head) {
        Ok(head) => head,
        Err(_) => {
            return Err(match serde_json::from_slice::<Version>(&head) {
                Ok(Version { v }) if v != VERSION => EnvelopeError::UnknownVersion(v),
                _ => EnvelopeError::Malformed,
            });
        }
    };
    if head.v != VERSION {
        return Err(EnvelopeError::UnknownVersion(head.v));
    }
    let mut blobs = Vec::with_capacity(head.blobs.len());
    for length in head.blobs {
        if length as usize > bytes.len() {
            return Err(EnvelopeError::Malformed);
        }
        let blob = bytes.split_to(length as usize);
        blobs.push(ByteString::try_from(blob).map_err(|_| EnvelopeError::Malformed)?);
    }
    Ok(Envelope { from: head.from, trace: head.trace, body: head.body, blobs: blobs.into_iter() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> NodeId {
        NodeId::new("n1").unwrap()
    }

    #[test]
    fn a_message_comes_out_as_it_went_in() {
        let bytes = encode(&node(), &("hello", 3), &["{\"a\":\n1}", ""]).unwrap();
        let envelope = decode::<(String, u32)>(bytes).unwrap();
        assert_eq!(envelope.from, node());
        assert_eq!(envelope.body, ("hello".to_owned(), 3));
        assert_eq!(envelope.blobs.collect::<Vec<_>>(), ["{\"a\":\n1}", ""]);
    }

    #[test]
    fn the_trace_travels_in_the_head_and_nodes_that_do_not_know_it_read_the_message_all_the_same() {
        /// As the release before has it.
        #[derive(Deserialize)]
        #[allow(dead_code, reason = "that they are there is what counts")]
        struct Earlier {
            v: u8,
            from: NodeId,
            body: u32,
            #[serde(default)]
            blobs: Vec<u32>,
        }
        let context = TraceContext::random(true);
        let traced = {
            let _entered = trace::enter(Some(context));
            encode(&node(), &3_u32, &["x"]).unwrap()
        };
        assert!(serde_json::from_slice::<Earlier>(&traced[4..traced.len() - 1]).is_ok());
        assert_eq!(decode::<u32>(traced).unwrap().trace, Some(context));
        let plain = encode(&node(), &3_u32, &["x"]).unwrap();
        assert!(!String::from_utf8_lossy(&plain).contains("trace"));
        assert_eq!(decode::<u32>(plain).unwrap().trace, None);
        // What is no trace costs nobody the message.
        let head = br#"{"v":1,"from":"n1","trace":"00-nonsense","body":3}"#;
        let mut bytes = u32::try_from(head.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend_from_slice(head);
        assert_eq!(decode::<u32>(bytes.into()).unwrap().trace, None);
    }

    #[test]
    fn an_unknown_version_is_told_from_rubbish_and_neither_panics() {
        let future = br#"{"v":2,"from":"n1","something":"new"}"#;
        let mut bytes = u32::try_from(future.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend_from_slice(future);
        assert_eq!(decode::<u8>(bytes.into()).unwrap_err(), EnvelopeError::UnknownVersion(2));
        for rubbish in [&b""[..], &[255; 9], b"\0\0\0\x02{}", b"\0\0\0\x01"] {
            assert_eq!(decode::<u8>(Bytes::copy_from_slice(rubbish)).unwrap_err(), EnvelopeError::Malformed);
        }
    }
}

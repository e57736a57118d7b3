//! The vocabulary of the wire (docs/protocol.md): frames, the call object, events as one user is told them, errors.
//!
//! Owns the names and shapes that clients see, and nothing else: it decides nothing and does no IO. Both sides of the
//! house use it, the owner of a call to render what it sends, the gateway to answer.

pub mod call_object;
pub mod call_view;
pub mod error;
pub mod frame;
pub mod render;

pub use call_object::CallObject;
pub use call_view::CallView;
pub use error::{ErrorCode, Refusal};
pub use frame::Frame;

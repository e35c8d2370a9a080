//! What can go wrong with a WebSocket that is reached.

use std::time::Duration;

use super::code;
use crate::catalogue::{Catalogue, text};
use crate::units::Span;

#[derive(Debug)]
pub(crate) enum WsFailure {
    /// The server granted none: its status.
    Refused(String),
    /// The peer ended its stream without a Close frame.
    Truncated,
    /// An opening or a closing handshake took longer than this.
    Idle(Duration),
    /// The input is no text, and was to be sent as such.
    NotText,
    /// It failed otherwise, or the peer closed it with a complaint.
    Broken(String),
}

impl WsFailure {
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::Refused(status) => match status.get(..3) {
                Some("401" | "403" | "407") => code::CERTIFICATE,
                _ => code::UNAVAILABLE,
            },
            Self::NotText => code::DATA,
            Self::Truncated | Self::Broken(_) => code::PROTOCOL,
            Self::Idle(_) => code::NO_ANSWER,
        }
    }

    pub(super) fn message(&self, catalogue: &Catalogue, peer: &str) -> String {
        match self {
            Self::Refused(status) => {
                text!(catalogue, "join-ws-refused", peer = peer.to_owned(), status = status.clone())
            }
            Self::Truncated => text!(catalogue, "join-ws-truncated", peer = peer.to_owned()),
            Self::Idle(time_max) => {
                text!(catalogue, "join-ws-idle", peer = peer.to_owned(), time = Span(*time_max).words(catalogue))
            }
            Self::NotText => text!(catalogue, "join-ws-not-text"),
            Self::Broken(why) => text!(catalogue, "join-ws", peer = peer.to_owned(), why = why.clone()),
        }
    }
}

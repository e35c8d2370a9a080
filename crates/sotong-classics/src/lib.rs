//! The small services every network knows, and a room of lines: echo, discard, chargen, daytime, time (RFC 862–864, 867,
//! 868) and [`room`].
//!
//! Each is a [`Service`](sotong_session::Service) whose sessions are right over a byte stream and over records: over TCP,
//! Unix sockets and UDP. Over datagrams none of them answers a peer whose port is that of such a service (7, 13, 17, 19,
//! 37), since two of them would answer each other for ever; echo and chargen never answer with more bytes than came.
//!
//! | service | says | default of its own limits |
//! |---|---|---|
//! | [`EchoService`] | what it hears | – |
//! | [`DiscardService`] | nothing | – |
//! | [`ChargenService`] | lines of 72 characters, as fast as they are read | 512 bytes a datagram |
//! | [`DaytimeService`] | the time, for people | – |
//! | [`TimeService`] | the time, in 32 bits | – |
//! | [`room::RoomService`] | what its members say to each other | [`room::RoomLimits`] |
//!
//! # Example
//!
//! ```
//! use sotong_classics::EchoService;
//! use sotong_session::{Close, Service, rig::Rig, End, Way, Wire};
//!
//! let way = Way::new(End::Simulated(1), End::Simulated(2), Wire::Stream);
//! let session = EchoService.open(&way)?;
//! let mut rig = Rig::stream(session);
//! rig.open_as(&way);
//! rig.input("안녕하세요, 서버!".as_bytes());
//! assert_eq!(rig.sent(), "안녕하세요, 서버!".as_bytes());
//! rig.end();
//! assert_eq!(rig.close(), Some(&Close::Done));
//! # Ok::<(), Close>(())
//! ```
#![forbid(unsafe_code)]

mod chargen;
mod clock;
mod discard;
mod echo;
mod hears;
pub mod room;

pub use chargen::{Chargen, ChargenService};
pub use clock::{Daytime, DaytimeService, Time, TimeService};
pub use discard::{Discard, DiscardService};
pub use echo::{Echo, EchoService};

/// A service without state: every peer gets a fresh session, and nobody knows of it.
macro_rules! stateless_service {
    ($(#[$doc:meta])* $service:ident makes $session:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $service;

        impl sotong_session::Service for $service {
            type Session = $session;
            fn open(&self, way: &sotong_session::Way) -> Result<$session, sotong_session::Close> {
                Ok($session::new(way))
            }
            fn lost(
                &self,
                _who: sotong_session::Address,
                _host: &mut dyn sotong_session::Host<std::convert::Infallible>,
            ) {
            }
        }
    };
}
use stateless_service;

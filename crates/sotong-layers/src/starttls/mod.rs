//! What has to be said in plain text before TLS begins on a connection that began without.
mod dialog;

use dialog::{Dialog, Heard};
use sotong_session::{Close, Cx, Event, Input, Moment, Pace, Session, Stream, Wants, Way};
use std::time::Duration;

/// The client's words before TLS, in the protocol of the server.
///
/// Around a session that speaks TLS: that one is opened, and gets everything from then on, once the server has agreed. What
/// the server says behind its agreement and before TLS has begun could be anybody's, and ends the connection
/// ([`Close::Protocol`]): taken as if it had come by TLS, it would put a stranger's words into the conversation.
#[derive(Debug)]
pub struct StartTls<S> {
    inner: S,
    stage: Stage,
    limits: StartTlsLimits,
}

#[derive(Debug)]
enum Stage {
    New(Dialog),
    /// The dialog is on; so many bytes of it have been heard.
    Talks {
        dialog: Dialog,
        way: Box<Way>,
        until: Moment,
        heard: usize,
    },
    /// All is the inner session's.
    Through,
}

/// A protocol that begins TLS by a dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrade {
    /// SMTP (RFC 3207).
    Smtp,
    /// IMAP (RFC 9051, section 6.2.1).
    Imap,
    /// POP3 (RFC 2595, section 4).
    Pop3,
    /// IRC, by the command and the numerics 670 and 691 of the IRCv3 working group.
    Irc,
    /// XMPP of a client (RFC 6120, section 5).
    Xmpp,
    /// PostgreSQL, message flow, section SSLRequest.
    Postgres,
    /// LDAP (RFC 4511, section 4.14).
    Ldap,
}

/// What the dialog may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartTlsLimits {
    /// The whole dialog: 30 s. Mail servers let strangers wait for their greeting. Then it ends as [`Close::Idle`].
    pub time: Duration,
    /// Bytes of one line, or one unit of a protocol without lines: 4,096. SMTP has 512, IMAP's capabilities are longer.
    pub line_bytes_max: usize,
    /// Bytes that the server may say in all: 64 KiB.
    pub dialog_bytes_max: usize,
}

impl Default for StartTlsLimits {
    fn default() -> Self {
        Self { time: Duration::from_secs(30), line_bytes_max: 4096, dialog_bytes_max: 64 << 10 }
    }
}

impl<S: Stream> StartTls<S> {
    /// Asks for TLS as a client of `upgrade` does; `domain` is the one that is meant, for protocols that name it.
    pub fn new(inner: S, upgrade: Upgrade, domain: &str, limits: StartTlsLimits) -> Self {
        Self { inner, stage: Stage::New(Dialog::new(upgrade, domain)), limits }
    }

    fn open(&mut self, way: &Way, cx: &mut Cx<'_, S::Mail>) {
        if let Stage::New(dialog) = &mut self.stage {
            let mut dialog = std::mem::take(dialog);
            cx.out.put(&dialog.begin(way));
            let until = cx.now + self.limits.time;
            self.stage = Stage::Talks { dialog, way: Box::new(way.clone()), until, heard: 0 };
        }
    }

    /// Goes through what was heard; what is not whole yet stays untaken.
    fn hear(&mut self, input: &mut Input<'_>, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        let Stage::Talks { dialog, way, heard, .. } = &mut self.stage else { return Ok(()) };
        loop {
            let (taken, heard_unit) = dialog.hear(input.bytes(), self.limits.line_bytes_max)?;
            input.take(taken);
            *heard += taken;
            if *heard > self.limits.dialog_bytes_max {
                return Err(Close::Limit("dialog_bytes_max"));
            }
            match heard_unit {
                Heard::Part => return Ok(()),
                Heard::Next => {}
                Heard::Say(words) => cx.out.put(&words),
                Heard::Agreed if input.bytes().is_empty() => break,
                Heard::Agreed => {
                    return Err(Close::Protocol("the server said more behind its answer to STARTTLS".into()));
                }
            }
        }
        let way = way.clone();
        self.stage = Stage::Through;
        self.inner.handle(Event::Open(&way), cx)
    }
}

impl<S: Stream> Session for StartTls<S> {
    type Mail = S::Mail;

    fn handle(&mut self, event: Event<'_, S::Mail>, cx: &mut Cx<'_, S::Mail>) -> Result<(), Close> {
        let through = matches!(self.stage, Stage::Through);
        match event {
            Event::Open(way) => self.open(way, cx),
            Event::Input(mut input) if !through => self.hear(&mut input, cx)?,
            Event::End if !through => {
                return Err(Close::Protocol("the server ended the connection before TLS began".into()));
            }
            Event::Deadline if !through => {
                let is_due = matches!(self.stage, Stage::Talks { until, .. } if until <= cx.now);
                return if is_due { Err(Close::Idle) } else { Ok(()) };
            }
            Event::Stop if !through => return Err(Close::Stop),
            // Nobody is inside yet.
            Event::Again | Event::Mail(_) | Event::Drained | Event::Gone(_) if !through => {}
            Event::Input(input) => return self.inner.handle(Event::Input(input), cx),
            Event::Again => return self.inner.handle(Event::Again, cx),
            Event::End => return self.inner.handle(Event::End, cx),
            Event::Mail(mail) => return self.inner.handle(Event::Mail(mail), cx),
            Event::Deadline => return self.inner.handle(Event::Deadline, cx),
            Event::Drained => return self.inner.handle(Event::Drained, cx),
            Event::Stop => return self.inner.handle(Event::Stop, cx),
            Event::Gone(close) => return self.inner.handle(Event::Gone(close), cx),
        }
        Ok(())
    }

    fn wants(&self) -> Wants {
        match &self.stage {
            Stage::New(_) => Wants { input: Pace::Hold, deadline: None },
            Stage::Talks { until, .. } => Wants { input: Pace::Always, deadline: Some(*until) },
            Stage::Through => self.inner.wants(),
        }
    }
}
impl<S: Stream> Stream for StartTls<S> {}

#[cfg(test)]
mod tests;

//! A chat that somebody broke, to see that the watcher notices: what comes by mail is lost, comes twice, or in another order.
use sotong_chat::{ChatService, Guest, Mail};
use sotong_session::{Address, Close, Cx, Event, Host, Service, Session, Wants, Way};

/// How it is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Drop,
    /// It comes again behind the next.
    Double,
    Swap,
    /// Mail waits until some events of other kinds are over.
    Late,
}

#[derive(Clone)]
pub(crate) struct Broken {
    pub(crate) chat: ChatService,
    pub(crate) how: How,
}

pub(crate) struct Careless {
    guest: Guest,
    how: How,
    mails: u32,
    others: u32,
    kept: Vec<Mail>,
}

impl Service for Broken {
    type Session = Careless;
    fn open(&self, way: &Way) -> Result<Careless, Close> {
        Ok(Careless { guest: self.chat.open(way)?, how: self.how, mails: 0, others: 0, kept: Vec::new() })
    }
    fn lost(&self, who: Address, host: &mut dyn Host<Mail>) {
        self.chat.lost(who, host);
    }
}

impl Careless {
    fn let_go(&mut self, cx: &mut Cx<'_, Mail>) -> Result<(), Close> {
        std::mem::take(&mut self.kept).iter().try_for_each(|mail| self.guest.handle(Event::Mail(mail), cx))
    }
}

impl Session for Careless {
    type Mail = Mail;
    fn handle(&mut self, event: Event<'_, Mail>, cx: &mut Cx<'_, Mail>) -> Result<(), Close> {
        let Event::Mail(mail) = event else {
            let is_over = matches!(event, Event::Gone(_));
            self.guest.handle(event, cx)?;
            self.others += 1;
            let waits = self.how == How::Late && !self.others.is_multiple_of(4);
            return if is_over || waits { Ok(()) } else { self.let_go(cx) };
        };
        self.mails += 1;
        // Not the first ones, by which it comes in.
        let is_hit = self.mails > 6 && self.mails.is_multiple_of(4);
        match self.how {
            How::Drop if is_hit => return Ok(()),
            How::Double if is_hit => {
                self.guest.handle(Event::Mail(mail), cx)?;
                self.kept.push(mail.clone());
                return Ok(());
            }
            How::Swap if is_hit => {
                self.kept.push(mail.clone());
                return Ok(());
            }
            How::Late if is_hit || !self.kept.is_empty() => {
                self.kept.push(mail.clone());
                return Ok(());
            }
            _ => {}
        }
        self.guest.handle(Event::Mail(mail), cx)?;
        self.let_go(cx)
    }
    fn wants(&self) -> Wants {
        self.guest.wants()
    }
}

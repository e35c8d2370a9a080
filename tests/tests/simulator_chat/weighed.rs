//! A chat that is weighed while it runs: every table of the hall against its bound and the others, and what waits at each
//! connection against the hard mark.
use sotong_chat::{ChatService, Guest, Mail};
use sotong_session::{Address, Close, Cx, Event, Host, Service, Session, Wants, Way};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

#[derive(Clone)]
pub(crate) struct Weighed {
    pub(crate) chat: ChatService,
    /// Connections that are there: each is a newcomer, a client, or has said goodbye.
    open: Arc<AtomicUsize>,
    events: Arc<AtomicUsize>,
}

pub(crate) struct OnScales {
    guest: Guest,
    scales: Weighed,
}

/// After so many events everything is looked at, and each output after each.
const EVERY: usize = 16;

impl Weighed {
    pub(crate) fn new(chat: ChatService) -> Self {
        Self { chat, open: Arc::default(), events: Arc::default() }
    }
    fn weigh(&self) {
        if let Err(what) = self.chat.audit() {
            panic!("the hall: {what}");
        }
        let open = self.open.load(Ordering::Relaxed);
        let counted = |names: &[&str]| -> usize {
            self.chat.tables().iter().filter(|table| names.contains(&table.name)).map(|table| table.len).sum()
        };
        let known = counted(&["clients", "newcomers"]);
        assert!(known <= open, "{known} connections are known, and {open} are open");
        for table in ["waits", "batches"] {
            assert!(counted(&[table]) <= open, "more {table} than connections: {:?}", self.chat.tables());
        }
    }
}

/// Nobody is left: nor is anything that somebody had. Where nothing is written any more, what was written of rooms stays.
pub(crate) fn left_over(chat: &ChatService, writes: bool) -> Option<String> {
    // Those who keep their seats stay, and their rooms; what the books have, the throttle, and who was here, is for later. An
    // answer to who has gone is heard by nobody: the next one tells of those before, and has what had to wait written.
    let later = [
        "whowas",
        "accounts",
        "account_looks",
        "certs",
        "registered_rooms",
        "throttle",
        "pending",
        "unwritten",
        "under_way",
    ];
    let tables = chat.tables();
    let kept = tables.iter().find(|table| table.name == "kept").map_or(0, |table| table.len);
    let of_kept =
        ["kept", "users", "names", "looks", "rooms", "room_names", "log_messages", "log_bytes", "occupied_rooms"];
    let most = |table: &sotong_chat::Table| match table.name {
        name if later.contains(&name) => usize::MAX,
        "occupied_rooms" if !writes => usize::MAX,
        "users" | "names" | "looks" => kept,
        name if kept > 0 && of_kept.contains(&name) => usize::MAX,
        // The order is shortened as it is used.
        "log_order" => table.max,
        _ => 0,
    };
    let wrong =
        tables.iter().find(|table| table.len > most(table)).map(|table| format!("{table:?} when all have gone"));
    wrong.or_else(|| chat.audit().err())
}

impl Service for Weighed {
    type Session = OnScales;
    fn open(&self, way: &Way) -> Result<OnScales, Close> {
        let guest = self.chat.open(way)?;
        self.open.fetch_add(1, Ordering::Relaxed);
        Ok(OnScales { guest, scales: self.clone() })
    }
    fn lost(&self, who: Address, host: &mut dyn Host<Mail>) {
        self.chat.lost(who, host);
    }
}

impl Drop for OnScales {
    fn drop(&mut self) {
        self.scales.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Session for OnScales {
    type Mail = Mail;
    fn handle(&mut self, event: Event<'_, Mail>, cx: &mut Cx<'_, Mail>) -> Result<(), Close> {
        let done = self.guest.handle(event, cx);
        let (weight, hard) = (cx.out.weight(), cx.out.marks().hard);
        assert!(weight <= hard, "what is queued weighs {weight}, more than {hard}");
        if self.scales.events.fetch_add(1, Ordering::Relaxed).is_multiple_of(EVERY) {
            self.scales.weigh();
        }
        done
    }
    fn wants(&self) -> Wants {
        self.guest.wants()
    }
}

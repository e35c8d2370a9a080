//! Memory that is lent to mail and comes back.
use bytes::Bytes;
use std::sync::{Arc, Mutex, PoisonError};

/// One buffer: the session has said what it holds, as a rule, before the next is read.
#[derive(Debug, Default)]
pub(super) struct Home(Arc<Mutex<Vec<u8>>>);

struct Lent {
    bytes: Vec<u8>,
    home: Arc<Mutex<Vec<u8>>>,
}

impl Home {
    /// An empty buffer, with memory if some is at home.
    pub(super) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
    /// `bytes` as mail.
    pub(super) fn lend(&self, bytes: Vec<u8>) -> Bytes {
        Bytes::from_owner(Lent { bytes, home: Arc::clone(&self.0) })
    }
    /// Gives back what was not lent.
    pub(super) fn put(&self, bytes: Vec<u8>) {
        give_back(&self.0, bytes);
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        give_back(&self.home, std::mem::take(&mut self.bytes));
    }
}

fn give_back(home: &Mutex<Vec<u8>>, mut bytes: Vec<u8>) {
    bytes.clear();
    *home.lock().unwrap_or_else(PoisonError::into_inner) = bytes;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lent_comes_back_when_the_last_reference_goes() {
        let home = Home::default();
        let mut bytes = home.take();
        bytes.extend_from_slice(&[b'x'; 1000]);
        let at = bytes.as_ptr();
        let lent = home.lend(bytes);
        let part = lent.slice(10..20);
        drop(lent);
        assert_eq!((home.take().capacity(), &part[..]), (0, &[b'x'; 10][..]));
        drop(part);
        let back = home.take();
        assert!(back.is_empty() && back.as_ptr() == at);
    }
}

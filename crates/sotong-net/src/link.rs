//! A line between a process and one that it starts: messages, and descriptors with them.
//!
//! The other end is the started process's standard input, so that nothing is inherited by number, and nothing by processes
//! that another thread starts at the same moment. Each side reads the end when the other is gone.
use rustix::{
    io::{Errno, fcntl_dupfd_cloexec, retry_on_intr},
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair, sockopt,
    },
};
use std::{
    fs::File,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

/// Bytes of one message.
pub const MESSAGE_BYTES_MAX: usize = 4096;
/// Descriptors that go with one message.
pub const MESSAGE_FDS_MAX: usize = 64;
/// How long a message may wait to be taken: the other side reads at once, or is stuck.
const SEND_TIME_MAX: Duration = Duration::from_secs(1);

/// One end.
#[derive(Debug)]
pub struct Link {
    fd: OwnedFd,
}

/// What came.
#[derive(Debug)]
pub struct Message {
    /// What it says.
    pub text: String,
    /// What came with it.
    pub fds: Vec<OwnedFd>,
}

impl Link {
    /// Makes both ends; the second is to be the standard input of a process.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        for end in [&ours, &theirs] {
            sockopt::set_socket_timeout(end, sockopt::Timeout::Send, Some(SEND_TIME_MAX))?;
        }
        Ok((Self { fd: ours }, theirs))
    }
    /// Whether standard input is such an end.
    pub fn is_stdin() -> bool {
        sockopt::socket_type(io::stdin()) == Ok(SocketType::SEQPACKET)
    }
    /// Takes the end that is this process's standard input, which is empty from then on.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] if standard input is none.
    pub fn take_stdin() -> io::Result<Self> {
        let stdin = io::stdin();
        if !Self::is_stdin() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // Above the three standard ones, whichever of them are open.
        let fd = fcntl_dupfd_cloexec(&stdin, 3)?;
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        Ok(Self { fd })
    }
    /// How long [`Self::receive`] waits; `None`: as long as it takes.
    ///
    /// # Errors
    /// As the system reports them.
    pub fn set_receive_timeout(&self, time_max: Option<Duration>) -> io::Result<()> {
        Ok(sockopt::set_socket_timeout(&self.fd, sockopt::Timeout::Recv, time_max)?)
    }
    /// Sends a message of 1 to [`MESSAGE_BYTES_MAX`] bytes with at most [`MESSAGE_FDS_MAX`] descriptors, of which the other
    /// side gets copies. Waits for room for a second at most.
    ///
    /// # Errors
    /// [`io::ErrorKind::BrokenPipe`] or [`io::ErrorKind::ConnectionReset`] if nobody is there any more;
    /// [`io::ErrorKind::WouldBlock`] if the other side takes nothing; [`io::ErrorKind::InvalidInput`] for what is too long.
    pub fn send(&self, text: &str, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        if !(1..=MESSAGE_BYTES_MAX).contains(&text.len()) || fds.len() > MESSAGE_FDS_MAX {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MESSAGE_FDS_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(fds));
        }
        let slices = [IoSlice::new(text.as_bytes())];
        retry_on_intr(|| sendmsg(&self.fd, &slices, &mut control, SendFlags::NOSIGNAL))?;
        Ok(())
    }
    /// The next message; waits for it unless `now`. `None` is the end: the other side is gone.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if nothing came in time; [`io::ErrorKind::InvalidData`] for what is no message.
    pub fn receive(&self, now: bool) -> io::Result<Option<Message>> {
        let mut bytes = [0; MESSAGE_BYTES_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MESSAGE_FDS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let wait = if now { RecvFlags::DONTWAIT } else { RecvFlags::empty() };
        let mut slices = [IoSliceMut::new(&mut bytes)];
        let got = retry_on_intr(|| recvmsg(&self.fd, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC | wait));
        let got = match got {
            // The other side has left without reading everything.
            Err(Errno::CONNRESET) => return Ok(None),
            got => got?,
        };
        let mut fds = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(more) = message {
                fds.extend(more);
            }
        }
        if got.bytes == 0 {
            return Ok(None);
        }
        let cut = ReturnFlags::TRUNC | ReturnFlags::CTRUNC;
        match std::str::from_utf8(&bytes[..got.bytes]) {
            Ok(text) if !got.flags.intersects(cut) => Ok(Some(Message { text: text.to_owned(), fds })),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_their_bounds_and_bring_descriptors() {
        let (ours, theirs) = Link::pair().unwrap();
        let theirs = Link { fd: theirs };
        let shared = crate::shared::Shared::new(1).unwrap();
        ours.send("first", &[]).unwrap();
        ours.send("둘째", &[shared.as_fd(); MESSAGE_FDS_MAX]).unwrap();
        let first = theirs.receive(false).unwrap().unwrap();
        assert_eq!((first.text.as_str(), first.fds.len()), ("first", 0));
        let mut second = theirs.receive(false).unwrap().unwrap();
        assert_eq!((second.text.as_str(), second.fds.len()), ("둘째", MESSAGE_FDS_MAX));
        shared[0].store(5, std::sync::atomic::Ordering::SeqCst);
        let mapped = crate::shared::Shared::map(second.fds.remove(7)).unwrap();
        assert_eq!(mapped[0].load(std::sync::atomic::Ordering::SeqCst), 5);
        assert_eq!(theirs.receive(true).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(ours.send("", &[]).is_err() && ours.send(&"x".repeat(MESSAGE_BYTES_MAX + 1), &[]).is_err());
        drop(ours);
        assert!(theirs.receive(false).unwrap().is_none(), "the end");
        assert!(theirs.send("late", &[]).is_err());
    }

    #[test]
    fn who_takes_nothing_keeps_nobody_waiting() {
        let (ours, _theirs) = Link::pair().unwrap();
        let long = "x".repeat(MESSAGE_BYTES_MAX);
        let full = (0..10_000).find_map(|_| ours.send(&long, &[]).err()).unwrap();
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    }
}

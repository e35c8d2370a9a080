//! UDP with many peers: which datagram came from whom and to which of our addresses, and answers that leave from there.
//!
//! A socket that hears all addresses of the machine would answer from the one that routing prefers; a peer that asked
//! another one drops such an answer. So the kernel is asked for the address that a datagram came to (`IP_PKTINFO`,
//! `IPV6_PKTINFO`), and told it with the answer.
//!
//! Datagrams are neither merged nor split on the way (no GRO, no GSO): each is one record, empty ones included. Fragments
//! are allowed, as everywhere but in QUIC, so that a record may have any size that UDP has.
use crate::{
    address::canonical,
    endpoint::{Host, HostPort},
    socket::Socket,
};
use sotong_session::{End, Way, Wire};
use std::{
    io::{self, IoSlice},
    mem::{size_of, zeroed},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    ptr::null_mut,
};

/// Bytes of the longest datagram; no payload of UDP is longer (65,507 over IPv4, 65,527 over IPv6).
pub const DATAGRAM_BYTES_MAX: usize = 64 << 10;
/// Datagrams that one [`Batch`] holds at most.
pub const BATCH_DATAGRAMS_MAX: usize = 32;
/// Room for what the kernel says beside a datagram: one `in_pktinfo` and one `in6_pktinfo` with their headers, in words.
const CONTROL_WORDS: usize = 16;

/// A UDP socket with many peers. It does not wait.
#[derive(Debug)]
pub struct Datagrams {
    fd: OwnedFd,
    local: SocketAddr,
    host_port: HostPort,
    connected: Option<UdpPeer>,
}

/// The two ends of a conversation over UDP, and so what tells one session of a socket from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UdpPeer {
    /// The peer. An IPv4 peer of an IPv6 socket is shown as IPv4.
    pub remote: SocketAddr,
    /// Our address that it sends to, from which it is answered; unspecified if that was no address of one machine, such as
    /// that of a multicast group: then routing picks.
    pub local: SocketAddr,
}

/// Datagrams of one call, and the memory for them: 64 KiB each, of which only what is received into becomes resident.
pub struct Batch {
    bytes: Box<[u8]>,
    names: Box<[libc::sockaddr_storage]>,
    controls: Box<[[u64; CONTROL_WORDS]]>,
    received: Vec<Received>,
}

#[derive(Clone, Copy)]
struct Received {
    peer: UdpPeer,
    len: usize,
}

/// One datagram of a [`Batch`].
#[derive(Debug)]
pub struct Datagram<'a> {
    /// Both its ends.
    pub peer: UdpPeer,
    /// What it says; may be empty.
    pub bytes: &'a mut [u8],
}

impl UdpPeer {
    /// Both ends, for a session.
    pub fn way(&self) -> Way {
        Way::new(End::Net(self.local), End::Net(self.remote), Wire::Records)
    }
}

impl Datagrams {
    pub(crate) fn new(fd: OwnedFd, local: SocketAddr, host_port: HostPort) -> io::Result<Self> {
        let socket = Self { fd, local, host_port, connected: None };
        if local.ip().is_unspecified() {
            // On an IPv6 socket both: its IPv4 datagrams are described by either, and only the IPv4 form names our address
            // where the datagram was a broadcast.
            socket.enable(libc::IPPROTO_IP, libc::IP_PKTINFO)?;
            if local.is_ipv6() {
                socket.enable(libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)?;
            }
        }
        Ok(socket)
    }
    /// Takes over a UDP socket that has been connected, and so has one peer.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] if it is no UDP socket; [`io::ErrorKind::NotConnected`]; as the system reports them.
    pub fn of_connected(socket: Socket) -> io::Result<Self> {
        let Way { local: End::Net(local), remote: End::Net(remote), wire: Wire::Records, .. } = socket.way()? else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        socket.set_nonblocking(true)?;
        let host = match local.ip() {
            IpAddr::V4(ip) => Host::V4(ip),
            IpAddr::V6(ip) => Host::V6(ip, None),
        };
        let connected = Some(UdpPeer { remote, local });
        Ok(Self { fd: socket.into(), local, host_port: HostPort { host, port: local.port() }, connected })
    }
    #[allow(unsafe_code, reason = "no safe binding for these two options")]
    fn enable(&self, level: libc::c_int, option: libc::c_int) -> io::Result<()> {
        let on: libc::c_int = 1;
        // SAFETY: the value is an int, as both options want, and lives through the call.
        let result = unsafe {
            libc::setsockopt(self.fd.as_raw_fd(), level, option, (&raw const on).cast(), size_of_val(&on) as u32)
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// The one peer, of a socket that was connected.
    pub fn connected(&self) -> Option<UdpPeer> {
        self.connected
    }
    /// The address it is bound to.
    pub fn local(&self) -> SocketAddr {
        self.local
    }
    /// The same as it is written: `*` if it hears all addresses because it was asked to.
    pub fn host_port(&self) -> &HostPort {
        &self.host_port
    }
    /// Receives what is there, at most what `batch` holds, and says how many came. What was in the batch is forgotten.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if there is nothing.
    #[allow(unsafe_code, reason = "no safe binding of recvmmsg")]
    pub fn receive(&self, batch: &mut Batch) -> io::Result<usize> {
        batch.received.clear();
        let count = batch.names.len();
        // SAFETY: all zeroes is a value of these C structures: null pointers and lengths of 0.
        let (mut headers, mut slices): ([libc::mmsghdr; BATCH_DATAGRAMS_MAX], [libc::iovec; BATCH_DATAGRAMS_MAX]) =
            unsafe { (zeroed(), zeroed()) };
        let places = batch.bytes.chunks_exact_mut(DATAGRAM_BYTES_MAX).zip(&mut batch.names).zip(&mut batch.controls);
        for ((header, slice), ((bytes, name), control)) in headers.iter_mut().zip(&mut slices).zip(places) {
            *slice = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
            let message = &mut header.msg_hdr;
            message.msg_name = (&raw mut *name).cast();
            message.msg_namelen = size_of_val(name) as u32;
            message.msg_iov = slice;
            message.msg_iovlen = 1;
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = size_of_val(control) as _;
        }
        let received = retry(|| {
            // SAFETY: `count` headers are filled in, with pointers into `slices` and the batch that live through the call
            // and the lengths that are there; the batch is borrowed mutably, so nobody else looks.
            let result = unsafe {
                let flags = libc::MSG_DONTWAIT;
                libc::recvmmsg(self.fd.as_raw_fd(), headers.as_mut_ptr(), count as u32, flags as _, null_mut())
            };
            result as isize
        })?;
        for (header, name) in headers[..received].iter().zip(&batch.names) {
            let remote = canonical(address_of(name));
            let ip = destination(&header.msg_hdr).unwrap_or(self.local.ip());
            let local = match (ip, remote) {
                // Link-local addresses mean nothing without the interface that the peer is behind.
                (IpAddr::V6(ip), SocketAddr::V6(remote)) => {
                    let scope = if ip.is_unicast_link_local() { remote.scope_id() } else { 0 };
                    SocketAddrV6::new(ip, self.local.port(), 0, scope).into()
                }
                _ => SocketAddr::new(ip, self.local.port()),
            };
            batch.received.push(Received { peer: UdpPeer { remote, local }, len: header.msg_len as usize });
        }
        Ok(received)
    }
    /// Sends one datagram, the slices in order, from the address that the peer sends to.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if the socket's buffer is full. Any error loses this record, never the socket.
    #[allow(unsafe_code, reason = "no safe binding of sendmsg with IP_PKTINFO")]
    pub fn send(&self, to: &UdpPeer, slices: &[IoSlice<'_>]) -> io::Result<()> {
        let name = self.name_of(to.remote);
        let mut control = [0u64; CONTROL_WORDS];
        let message = self.message(&name, slices, to, &mut control);
        retry(|| {
            // SAFETY: all pointers are to values that live through the call, with their lengths, and sendmsg writes to
            // nothing.
            unsafe { libc::sendmsg(self.fd.as_raw_fd(), &raw const message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) }
        })?;
        Ok(())
    }
    /// Sends one datagram to each of `records`' peers, in order, at most [`BATCH_DATAGRAMS_MAX`] by one call. How many went;
    /// what the next one's trouble is, tells the call that begins with it.
    ///
    /// # Errors
    /// As [`Self::send`], of the first.
    #[allow(unsafe_code, reason = "no safe binding of sendmmsg")]
    pub fn send_batch(&self, records: &[(UdpPeer, IoSlice<'_>)]) -> io::Result<usize> {
        let records = &records[..records.len().min(BATCH_DATAGRAMS_MAX)];
        // SAFETY: all zeroes is a value of these C structures: null pointers and lengths of 0.
        let (mut names, mut headers): ([Name; BATCH_DATAGRAMS_MAX], [libc::mmsghdr; BATCH_DATAGRAMS_MAX]) =
            unsafe { (zeroed(), zeroed()) };
        let mut controls = vec![[0; CONTROL_WORDS]; if self.hears_all() { records.len() } else { 0 }];
        for (name, (to, _)) in names.iter_mut().zip(records) {
            *name = self.name_of(to.remote);
        }
        let mut rest = controls.iter_mut();
        for ((header, name), (to, slice)) in headers.iter_mut().zip(&names).zip(records) {
            let mut none = [0; CONTROL_WORDS];
            // Where there is no room for a source, none is put.
            let control = rest.next().unwrap_or(&mut none);
            header.msg_hdr = self.message(name, std::slice::from_ref(slice), to, control);
        }
        let count = records.len() as u32;
        let sent = retry(|| {
            let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            // SAFETY: `count` headers are filled in, whose pointers are to values that live through the call, with their
            // lengths; it writes only to the headers.
            unsafe { libc::sendmmsg(self.fd.as_raw_fd(), headers.as_mut_ptr(), count, flags as _) as isize }
        })?;
        Ok(sent)
    }
    /// Whether it hears more than one of our addresses.
    fn hears_all(&self) -> bool {
        self.local.ip().is_unspecified()
    }
    /// One datagram, as the kernel wants it. What it points to are the arguments.
    #[allow(unsafe_code, reason = "a C structure has no constructor")]
    fn message(
        &self,
        name: &Name,
        slices: &[IoSlice<'_>],
        to: &UdpPeer,
        control: &mut [u64; CONTROL_WORDS],
    ) -> libc::msghdr {
        // SAFETY: all zeroes is a value of this C structure: null pointers and lengths of 0.
        let mut message: libc::msghdr = unsafe { zeroed() };
        message.msg_name = (&raw const name.bytes).cast_mut().cast();
        message.msg_namelen = name.len;
        // IoSlice has the layout of iovec by std's promise.
        message.msg_iov = slices.as_ptr().cast_mut().cast();
        message.msg_iovlen = slices.len() as _;
        if self.hears_all() && !to.local.ip().is_unspecified() {
            put_source(&mut message, control, to.local.ip());
        }
        message
    }

    /// `remote` in the form that this socket's family wants.
    #[allow(unsafe_code, reason = "an address is a union in all but name")]
    fn name_of(&self, remote: SocketAddr) -> Name {
        // SAFETY: all zeroes is a value of this C structure.
        let mut name: Name = unsafe { zeroed() };
        let remote = match remote {
            SocketAddr::V4(v4) if self.local.is_ipv6() => {
                SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0).into()
            }
            _ => remote,
        };
        let len = match remote {
            SocketAddr::V4(v4) => {
                let v4 = libc::sockaddr_in {
                    sin_family: libc::AF_INET as _,
                    sin_port: v4.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                    sin_zero: [0; 8],
                };
                const { assert!(size_of::<libc::sockaddr_in>() <= size_of::<libc::sockaddr_in6>()) };
                const { assert!(align_of::<libc::sockaddr_in>() <= align_of::<libc::sockaddr_in6>()) };
                // SAFETY: there is room and alignment for it, as was asserted.
                unsafe { (&raw mut name.bytes).cast::<libc::sockaddr_in>().write(v4) };
                size_of::<libc::sockaddr_in>()
            }
            SocketAddr::V6(v6) => {
                name.bytes = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as _,
                    sin6_port: v6.port().to_be(),
                    sin6_flowinfo: 0,
                    sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                    sin6_scope_id: v6.scope_id(),
                };
                size_of::<libc::sockaddr_in6>()
            }
        };
        name.len = len as libc::socklen_t;
        name
    }
}

/// An address as the kernel wants it; the longer kind has room for the other.
#[derive(Clone, Copy)]
struct Name {
    bytes: libc::sockaddr_in6,
    len: libc::socklen_t,
}

/// Does a system call until no signal comes between. What it gave, if that was no error.
fn retry(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        match usize::try_from(call()) {
            Ok(result) => return Ok(result),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
}

impl AsFd for Datagrams {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Datagrams {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl Batch {
    /// Room for `datagrams`, 1 to [`BATCH_DATAGRAMS_MAX`] (clamped).
    #[allow(unsafe_code, reason = "a C structure has no constructor")]
    pub fn new(datagrams: usize) -> Self {
        let count = datagrams.clamp(1, BATCH_DATAGRAMS_MAX);
        // SAFETY: all zeroes is a value of this C structure.
        let name: libc::sockaddr_storage = unsafe { zeroed() };
        Self {
            // Zeroed by the system, page by page, when first written to.
            bytes: vec![0; count * DATAGRAM_BYTES_MAX].into(),
            names: vec![name; count].into(),
            controls: vec![[0; CONTROL_WORDS]; count].into(),
            received: Vec::with_capacity(count),
        }
    }
    /// Datagrams received.
    pub fn len(&self) -> usize {
        self.received.len()
    }
    /// Whether none was received.
    pub fn is_empty(&self) -> bool {
        self.received.is_empty()
    }
    /// The datagram at `index`, in the order in which they came.
    pub fn get(&mut self, index: usize) -> Option<Datagram<'_>> {
        let Received { peer, len } = *self.received.get(index)?;
        let start = index * DATAGRAM_BYTES_MAX;
        Some(Datagram { peer, bytes: &mut self.bytes[start..start + len] })
    }
}

/// Adds the address that a datagram shall leave from.
#[allow(unsafe_code, reason = "control messages are laid out by C macros")]
fn put_source(message: &mut libc::msghdr, control: &mut [u64; CONTROL_WORDS], from: IpAddr) {
    message.msg_control = control.as_mut_ptr().cast();
    let mut put = |level, kind, bytes: &[u8]| {
        // SAFETY: control has room for the greater of the two kinds (asserted in the tests), is aligned for a header, and
        // CMSG_FIRSTHDR is not null because of the length that is set before.
        unsafe {
            message.msg_controllen = libc::CMSG_SPACE(bytes.len() as u32) as _;
            let header = libc::CMSG_FIRSTHDR(message);
            (*header).cmsg_level = level;
            (*header).cmsg_type = kind;
            (*header).cmsg_len = libc::CMSG_LEN(bytes.len() as u32) as _;
            libc::CMSG_DATA(header).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
    };
    match from {
        // struct in_pktinfo: the interface (0: any), the address to send from, the address in the header (unused).
        IpAddr::V4(ip) => {
            let mut info = [0; 12];
            info[4..8].copy_from_slice(&ip.octets());
            put(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
        }
        // struct in6_pktinfo: the address, the interface (0: any, or what the scope of the peer says).
        IpAddr::V6(ip) => {
            let mut info = [0; 20];
            info[..16].copy_from_slice(&ip.octets());
            put(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
        }
    }
}

/// Which of our addresses a datagram came to, if the kernel said so and it can be answered from.
#[allow(unsafe_code, reason = "control messages are laid out by C macros")]
fn destination(message: &libc::msghdr) -> Option<IpAddr> {
    let mut found = None;
    // SAFETY: the kernel has filled in the control messages and their length, and the memory behind them is still there;
    // each data part is read only after its length was found to be enough.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !header.is_null() {
        // SAFETY: as above; CMSG_NXTHDR stays within the length.
        let (level, kind, data, len) = unsafe {
            let data = libc::CMSG_DATA(header);
            ((*header).cmsg_level, (*header).cmsg_type, data, (*header).cmsg_len)
        };
        // SAFETY: as above.
        let bytes = |from: usize, to: usize| unsafe {
            let have = len as u64 >= u64::from(libc::CMSG_LEN(to as u32));
            have.then(|| std::slice::from_raw_parts(data.add(from), to - from))
        };
        match (level, kind) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                let octets: Option<[u8; 4]> = bytes(4, 8).and_then(|octets| octets.try_into().ok());
                found = octets.map(|octets| IpAddr::V4(Ipv4Addr::from(octets)));
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) if found.is_none() => {
                let octets: Option<[u8; 16]> = bytes(0, 16).and_then(|octets| octets.try_into().ok());
                found = octets.map(|octets| Ipv6Addr::from(octets).to_canonical());
            }
            _ => {}
        }
        // SAFETY: as above.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
    found.filter(|ip| !ip.is_multicast())
}

/// The address that the kernel has written.
#[allow(unsafe_code, reason = "sockaddr_storage is a union in all but name")]
fn address_of(storage: &libc::sockaddr_storage) -> SocketAddr {
    let at = &raw const *storage;
    if libc::c_int::from(storage.ss_family) == libc::AF_INET6 {
        // SAFETY: the family says which structure it is; sockaddr_storage has room and alignment for it.
        let v6 = unsafe { at.cast::<libc::sockaddr_in6>().read() };
        SocketAddrV6::new(v6.sin6_addr.s6_addr.into(), u16::from_be(v6.sin6_port), 0, v6.sin6_scope_id).into()
    } else {
        // SAFETY: as above; the socket has no third family.
        let v4 = unsafe { at.cast::<libc::sockaddr_in>().read() };
        let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
        SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        endpoint::Endpoint,
        listen::{Bound, ListenOptions, listen},
    };
    use std::{collections::BTreeSet, net::UdpSocket, time::Duration};

    const HANG: Duration = Duration::from_secs(20);

    fn group(text: &str, count: usize) -> Vec<Datagrams> {
        let endpoint: Endpoint = text.parse().unwrap();
        let options = ListenOptions { datagram_sockets: count, ..ListenOptions::default() };
        match listen(&[endpoint], &options).unwrap().remove(0) {
            Bound::Datagrams(sockets) => sockets,
            Bound::Stream(_) => panic!("{text} is UDP"),
        }
    }

    fn peer(address: &str, to: SocketAddr) -> UdpSocket {
        let peer = UdpSocket::bind(address).unwrap();
        peer.set_read_timeout(Some(HANG)).unwrap();
        // Only answers from that very address come through.
        peer.connect(to).unwrap();
        peer
    }

    fn receive(socket: &Datagrams, batch: &mut Batch) -> usize {
        assert!(crate::wake::wait_readable(socket.as_fd(), Some(HANG)), "nothing came");
        socket.receive(batch).unwrap()
    }

    /// Says `text` to `to` at a socket and answers it in capitals; the ends as the socket saw them.
    fn talk(socket: &Datagrams, from: &str, to: &str) -> UdpPeer {
        let to = SocketAddr::new(to.parse().unwrap(), socket.local().port());
        let peer = peer(from, to);
        peer.send(b"ping").unwrap();
        let mut batch = Batch::new(4);
        assert_eq!(receive(socket, &mut batch), 1);
        let datagram = batch.get(0).unwrap();
        assert_eq!(datagram.bytes, b"ping");
        let ends = datagram.peer;
        assert_eq!(ends.remote, peer.local_addr().unwrap());
        assert_eq!(ends.local, to);
        socket.send(&ends, &[IoSlice::new(b"po"), IoSlice::new(b"ng")]).unwrap();
        let mut answer = [0; 16];
        let count = peer.recv(&mut answer).expect("an answer from the address that was asked");
        assert_eq!(&answer[..count], b"pong");
        ends
    }

    #[test]
    fn control_messages_fit() {
        #[allow(unsafe_code, reason = "a C macro")]
        // SAFETY: plain arithmetic.
        let (v4, v6) = unsafe { (libc::CMSG_SPACE(12), libc::CMSG_SPACE(20)) };
        assert!((v4 + v6) as usize <= size_of::<[u64; CONTROL_WORDS]>());
        assert_eq!(size_of::<libc::in_pktinfo>(), 12);
        assert_eq!(size_of::<libc::in6_pktinfo>(), 20);
    }

    #[test]
    fn an_answer_leaves_from_the_address_that_was_asked() {
        for socket in [&group("udp://0.0.0.0:0", 1)[0], &group("udp://*:0", 1)[0]] {
            talk(socket, "127.0.0.1:0", "127.0.0.1");
            talk(socket, "127.0.0.1:0", "127.0.0.2");
            talk(socket, "127.0.0.3:0", "127.0.0.4");
        }
    }

    #[test]
    fn one_socket_hears_both_families_and_shows_ipv4_as_ipv4() {
        let socket = &group("udp://*:0", 1)[0];
        let ends = talk(socket, "127.0.0.1:0", "127.0.0.2");
        assert!(ends.remote.is_ipv4() && ends.local.is_ipv4());
        assert_eq!(ends.way().remote, End::Net(ends.remote));
        if UdpSocket::bind("[::1]:0").is_ok() {
            let ends = talk(socket, "[::1]:0", "::1");
            assert!(ends.remote.is_ipv6());
        }
    }

    #[test]
    fn a_socket_of_one_address_answers_from_it() {
        let ends = talk(&group("udp://127.0.0.5:0", 1)[0], "127.0.0.1:0", "127.0.0.5");
        assert_eq!(ends.way().wire, Wire::Records);
    }

    #[test]
    fn records_come_in_order_each_by_itself_also_empty_and_longest_ones() {
        let socket = &group("udp://127.0.0.1:0", 1)[0];
        let peer = peer("127.0.0.1:0", socket.local());
        let longest = vec![7; 65_507];
        let sent: [&[u8]; 5] = [b"one", b"", b"two", &longest, b""];
        for record in sent {
            peer.send(record).unwrap();
        }
        let mut batch = Batch::new(2);
        let mut seen = Vec::new();
        while seen.len() < sent.len() {
            let count = receive(socket, &mut batch);
            assert!((1..=2).contains(&count) && count == batch.len());
            for index in 0..count {
                seen.push(batch.get(index).unwrap().bytes.to_vec());
            }
            assert!(batch.get(count).is_none());
        }
        assert_eq!(seen, sent);
        assert_eq!(socket.receive(&mut batch).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(batch.is_empty());
        let ends = UdpPeer { remote: peer.local_addr().unwrap(), local: socket.local() };
        socket.send(&ends, &[]).unwrap();
        assert_eq!(peer.recv(&mut [0; 8]).unwrap(), 0);
        socket.send(&ends, &[IoSlice::new(&longest)]).unwrap();
        assert_eq!(peer.recv(&mut vec![0; 1 << 16]).unwrap(), longest.len());
    }

    #[test]
    fn a_batch_goes_to_each_peer_from_the_address_it_asked_and_stops_at_trouble() {
        for text in ["udp://127.0.0.1:0", "udp://0.0.0.0:0", "udp://*:0"] {
            let socket = &group(text, 1)[0];
            let asked = |at: u8| if socket.hears_all() { Ipv4Addr::new(127, 0, 0, at) } else { Ipv4Addr::LOCALHOST };
            let peers: Vec<_> = (1..=3)
                .map(|at| peer("127.0.0.1:0", SocketAddr::new(asked(at).into(), socket.local().port())))
                .collect();
            let ends =
                |peer: &UdpSocket| UdpPeer { remote: peer.local_addr().unwrap(), local: peer.peer_addr().unwrap() };
            let too_long = vec![0; 70_000];
            let records = [
                (ends(&peers[0]), IoSlice::new(b"one")),
                (ends(&peers[1]), IoSlice::new(b"")),
                (ends(&peers[0]), IoSlice::new(&too_long)),
                (ends(&peers[2]), IoSlice::new(b"three")),
            ];
            assert_eq!(socket.send_batch(&records).unwrap(), 2);
            assert!(socket.send_batch(&records[2..]).is_err());
            assert_eq!(socket.send_batch(&records[3..]).unwrap(), 1);
            for (peer, expected) in peers.iter().zip([&b"one"[..], b"", b"three"]) {
                let mut answer = [0; 16];
                let count = peer.recv(&mut answer).expect("an answer from the address that was asked");
                assert_eq!(&answer[..count], expected);
            }
        }
    }

    #[test]
    fn a_send_that_fails_loses_the_record_and_not_the_socket() {
        let socket = &group("udp://127.0.0.1:0", 1)[0];
        let gone = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let nobody = UdpPeer { remote: gone, local: socket.local() };
        let _ = socket.send(&nobody, &[IoSlice::new(b"x")]);
        let too_long = socket.send(&nobody, &[IoSlice::new(&vec![0; 70_000])]);
        assert!(too_long.is_err());
        talk(socket, "127.0.0.1:0", "127.0.0.1");
    }

    #[test]
    fn a_group_shares_a_port_and_each_peer_stays_with_one_socket() {
        let sockets = group("udp://127.0.0.1:0", 4);
        let port: BTreeSet<_> = sockets.iter().map(|socket| socket.local().port()).collect();
        assert_eq!((sockets.len(), port.len()), (4, 1));
        let mut batch = Batch::new(8);
        let mut used = BTreeSet::new();
        for _ in 0..40 {
            let peer = peer("127.0.0.1:0", sockets[0].local());
            let mut of_peer = BTreeSet::new();
            for _ in 0..3 {
                peer.send(b"x").unwrap();
                let mut polled: Vec<_> = sockets
                    .iter()
                    .map(|socket| rustix::event::PollFd::new(socket, rustix::event::PollFlags::IN))
                    .collect();
                rustix::event::poll(&mut polled, None).unwrap();
                let ready = polled.iter().position(|fd| !fd.revents().is_empty()).unwrap();
                assert_eq!(sockets[ready].receive(&mut batch).unwrap(), 1);
                of_peer.insert(ready);
            }
            assert_eq!(of_peer.len(), 1);
            used.extend(of_peer);
        }
        assert!(used.len() > 1, "40 peers all on one socket");
    }

    #[test]
    fn an_address_in_use_is_noticed_although_a_group_shares_its_own() {
        use crate::listen::ListenProblem;
        for (first, second) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
            let held = group("udp://127.0.0.1:0", first);
            let endpoint = Endpoint::Udp(held[0].host_port().clone());
            let options = ListenOptions { datagram_sockets: second, ..ListenOptions::default() };
            let error = listen(std::slice::from_ref(&endpoint), &options).unwrap_err();
            assert_eq!((error.at, error.why), (endpoint, ListenProblem::InUse));
        }
    }
}

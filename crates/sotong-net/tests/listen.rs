//! Listening on real sockets: what is bound, what is in the way, and what is left behind.
use rustix::{fs::Mode, net::sockopt};
use sotong_net::{
    endpoint::{Endpoint, Host, HostPort},
    listen::{Bound, ListenOptions, ListenProblem, listen},
    listener::{AcceptError, Listener},
    resolve::{Family, ResolveError},
    socket::Socket,
};
use sotong_session::{End, Way};
use std::{
    io::{IoSlice, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::{
        fd::AsFd,
        unix::net::{UnixDatagram, UnixListener, UnixStream},
    },
    path::PathBuf,
    process::Command,
    time::Duration,
};

const HANG: Duration = Duration::from_secs(20);

/// A directory that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sotong-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
    fn endpoint(&self, file: &str) -> (PathBuf, Endpoint) {
        let path = self.0.join(file);
        let endpoint = format!("unix:{}", path.display()).parse().unwrap();
        (path, endpoint)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn bind(texts: &[&str], family: Family) -> Result<Vec<Listener>, ListenProblem> {
    let endpoints: Vec<Endpoint> = texts.iter().map(|text| text.parse().unwrap()).collect();
    bind_endpoints(&endpoints, family)
}

fn bind_endpoints(endpoints: &[Endpoint], family: Family) -> Result<Vec<Listener>, ListenProblem> {
    let bound = listen(endpoints, &ListenOptions { family, ..ListenOptions::default() }).map_err(|error| error.why)?;
    Ok(bound
        .into_iter()
        .map(|bound| match bound {
            Bound::Stream(listener) => listener,
            Bound::Datagrams(_) => panic!("no UDP here"),
        })
        .collect())
}

fn one(text: &str) -> Listener {
    let mut bound = bind(&[text], Family::Any).unwrap();
    assert_eq!(bound.len(), 1);
    bound.remove(0)
}

fn port(listener: &Listener) -> u16 {
    listener.endpoint().host_port().unwrap().port
}

fn wait(fd: impl AsFd) {
    let mut polled = [rustix::event::PollFd::new(&fd, rustix::event::PollFlags::IN)];
    let limit = rustix::event::Timespec { tv_sec: 20, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut polled, Some(&limit)), Ok(1), "nobody came");
}

fn accept(listener: &Listener) -> (Socket, Way) {
    wait(listener);
    listener.accept(false).unwrap()
}

fn has_ipv6() -> bool {
    TcpListener::bind("[::1]:0").is_ok()
}

/// Whether a client at `to` reaches `listener`.
fn reaches(to: &str, listener: &Listener) -> bool {
    TcpStream::connect((to, port(listener))).is_ok_and(|client| {
        let (_, way) = accept(listener);
        assert_eq!(way.remote, End::Net(client.local_addr().unwrap()));
        assert_eq!(way.local, End::Net(client.peer_addr().unwrap()));
        true
    })
}

#[test]
fn a_connection_is_accepted_with_both_its_ends_and_without_delay() {
    let listener = one("127.0.0.1:0");
    assert!(matches!(listener.accept(true), Err(AcceptError::NotNow)));
    let mut client = TcpStream::connect(("127.0.0.1", port(&listener))).unwrap();
    client.set_read_timeout(Some(HANG)).unwrap();
    let (socket, way) = accept(&listener);
    assert_eq!(way.remote, End::Net(client.local_addr().unwrap()));
    assert_eq!(way.local, End::Net(client.peer_addr().unwrap()));
    assert!(sockopt::tcp_nodelay(&socket).unwrap());
    assert_eq!(rustix::io::fcntl_getfd(&socket).unwrap(), rustix::io::FdFlags::CLOEXEC);
    socket.set_recv_timeout(Some(HANG)).unwrap();
    client.write_all("안녕하세요".as_bytes()).unwrap();
    let mut buffer = [0; 64];
    let count = socket.recv(&mut buffer).unwrap();
    assert_eq!(socket.send_vectored(&[IoSlice::new(&buffer[..count])], false).unwrap(), 15);
    drop(socket);
    let mut heard = String::new();
    client.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "안녕하세요");
}

#[test]
fn accepted_sockets_wait_or_not_as_asked() {
    let listener = one("127.0.0.1:0");
    for nonblocking in [true, false] {
        let _client = TcpStream::connect(("127.0.0.1", port(&listener))).unwrap();
        wait(&listener);
        let (socket, _) = listener.accept(nonblocking).unwrap();
        let flags = rustix::fs::fcntl_getfl(&socket).unwrap();
        assert_eq!(flags.contains(rustix::fs::OFlags::NONBLOCK), nonblocking);
    }
}

#[test]
fn keepalive_is_inherited() {
    let options = ListenOptions { keepalive: Some(Duration::from_secs(33)), ..ListenOptions::default() };
    let Bound::Stream(listener) = listen(&["127.0.0.1:0".parse().unwrap()], &options).unwrap().remove(0) else {
        panic!("TCP")
    };
    let _client = TcpStream::connect(("127.0.0.1", port(&listener))).unwrap();
    let (socket, _) = accept(&listener);
    assert!(sockopt::socket_keepalive(&socket).unwrap());
    assert_eq!(sockopt::tcp_keepidle(&socket).unwrap(), Duration::from_secs(33));
}

#[test]
fn a_star_is_one_socket_for_both_families() {
    let listener = one("*:0");
    assert_eq!(listener.endpoint().to_string(), format!("tcp://*:{}", port(&listener)));
    assert!(reaches("127.0.0.1", &listener));
    assert!(reaches("127.0.0.2", &listener));
    assert_eq!(reaches("::1", &listener), has_ipv6());
    if has_ipv6() {
        let listener = one("[::]:0");
        assert!(reaches("127.0.0.1", &listener) && reaches("::1", &listener));
    }
}

#[test]
fn a_family_can_be_asked_for() {
    let v4 = bind(&["*:0"], Family::V4).unwrap().remove(0);
    assert!(reaches("127.0.0.1", &v4) && !reaches("::1", &v4));
    if has_ipv6() {
        let v6 = bind(&["*:0"], Family::V6).unwrap().remove(0);
        assert!(!reaches("127.0.0.1", &v6) && reaches("::1", &v6));
    }
    let none = bind(&["0.0.0.0:0"], Family::V6).unwrap_err();
    let host = "0.0.0.0".to_owned();
    assert_eq!(none, ListenProblem::Resolve(ResolveError::NoneOfFamily { host, family: Family::V6 }));
}

#[test]
fn localhost_is_both_families_with_one_port() {
    let bound = bind(&[":0"], Family::Any).unwrap();
    assert_eq!(bound.len(), if has_ipv6() { 2 } else { 1 });
    for listener in &bound {
        assert_eq!(port(listener), port(&bound[0]));
        let to = listener.endpoint().host_port().unwrap().host.ip().unwrap();
        assert!(to.is_loopback());
        assert!(reaches(&to.to_string(), listener));
    }
}

#[test]
fn all_addresses_are_bound_or_none() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let at: Endpoint = Endpoint::Tcp(HostPort::of(taken.local_addr().unwrap()));
    let free: Endpoint = {
        let probe = TcpListener::bind("127.0.0.1:0").unwrap();
        Endpoint::Tcp(HostPort::of(probe.local_addr().unwrap()))
    };
    let error = listen(&[free.clone(), at.clone()], &ListenOptions::default()).unwrap_err();
    assert_eq!((&error.at, &error.why), (&at, &ListenProblem::InUse));
    assert!(error.to_string().starts_with(&format!("cannot listen on {at}: the address is in use")));
    drop(taken);
    assert_eq!(bind_endpoints(&[free, at], Family::Any).unwrap().len(), 2);
}

#[test]
fn a_port_held_by_one_family_of_localhost_is_in_use() {
    if !has_ipv6() {
        return;
    }
    let v6 = TcpListener::bind("[::1]:0").unwrap();
    let both = Endpoint::Tcp(HostPort { host: Host::Localhost, port: v6.local_addr().unwrap().port() });
    assert_eq!(bind_endpoints(&[both], Family::Any).unwrap_err(), ListenProblem::InUse);
}

#[test]
fn a_port_that_was_just_used_can_be_used_again() {
    let listener = one("127.0.0.1:0");
    let endpoint = listener.endpoint().clone();
    let client = TcpStream::connect(("127.0.0.1", port(&listener))).unwrap();
    // The end that closes first is left in TIME_WAIT.
    drop(accept(&listener));
    drop(listener);
    drop(client);
    assert!(bind_endpoints(&[endpoint], Family::Any).is_ok());
}

#[test]
fn an_address_of_another_machine_is_not_available() {
    // RFC 5737: for documentation only.
    let error = bind(&["192.0.2.1:0"], Family::Any).unwrap_err();
    assert_eq!(error, ListenProblem::NotAvailable { ip: [192, 0, 2, 1].into() });
}

#[test]
fn a_unix_socket_is_heard_with_its_peers_user_and_leaves_no_file() {
    let folder = Folder::new("unix");
    let (path, endpoint) = folder.endpoint("소켓");
    let listener = bind_endpoints(&[endpoint], Family::Any).unwrap().remove(0);
    let client = UnixStream::connect(&path).unwrap();
    let (_socket, way) = accept(&listener);
    assert_eq!(way.local, End::Unix { path: Some(path.as_path().into()), uid: None });
    assert_eq!(way.remote, End::Unix { path: None, uid: Some(rustix::process::getuid().as_raw()) });
    drop(listener);
    assert!(!path.exists());
    drop(client);
}

#[test]
fn an_abstract_name_needs_no_file() {
    let name = format!("unix:@sotong-test-{}", std::process::id());
    let listener = one(&name);
    assert_eq!(listener.endpoint().to_string(), name);
    assert_eq!(bind(&[&name], Family::Any).unwrap_err(), ListenProblem::InUse);
    drop(listener);
    one(&name);
}

#[test]
fn permission_bits_are_as_asked() {
    let folder = Folder::new("mode");
    let (path, endpoint) = folder.endpoint("s");
    let options = ListenOptions { unix_mode: Some(0o600), ..ListenOptions::default() };
    let _bound = listen(&[endpoint], &options).unwrap();
    let mode = Mode::from_raw_mode(rustix::fs::stat(&path).unwrap().st_mode);
    assert_eq!(mode, Mode::RUSR | Mode::WUSR);
}

#[test]
fn a_stale_file_is_replaced() {
    let folder = Folder::new("stale");
    let (path, endpoint) = folder.endpoint("s");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let listener = bind_endpoints(&[endpoint], Family::Any).unwrap().remove(0);
    UnixStream::connect(&path).unwrap();
    accept(&listener);
}

#[test]
fn a_live_socket_is_in_use_even_with_a_full_backlog() {
    let folder = Folder::new("live");
    let (path, endpoint) = folder.endpoint("s");
    let live = UnixListener::bind(&path).unwrap();
    rustix::net::listen(&live, 0).unwrap();
    // The first attempt fills the backlog, the next ones find it full.
    for _ in 0..3 {
        let error = bind_endpoints(std::slice::from_ref(&endpoint), Family::Any).unwrap_err();
        assert_eq!(error, ListenProblem::InUse);
    }
    drop(live);
    std::fs::remove_file(&path).unwrap();
    let _datagram = UnixDatagram::bind(&path).unwrap();
    assert_eq!(bind_endpoints(&[endpoint], Family::Any).unwrap_err(), ListenProblem::InUse);
    assert!(path.exists());
}

#[test]
fn what_is_no_socket_is_never_removed() {
    let folder = Folder::new("file");
    let (path, endpoint) = folder.endpoint("s");
    std::fs::write(&path, "dear data").unwrap();
    let at = std::slice::from_ref(&endpoint);
    assert_eq!(bind_endpoints(at, Family::Any).unwrap_err(), ListenProblem::NotASocket { path: path.clone() });
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "dear data");
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("elsewhere", &path).unwrap();
    assert_eq!(bind_endpoints(at, Family::Any).unwrap_err(), ListenProblem::NotASocket { path: path.clone() });
    assert!(path.is_symlink());
}

#[test]
fn a_file_that_another_server_made_meanwhile_stays() {
    let folder = Folder::new("other");
    let (path, endpoint) = folder.endpoint("s");
    let first = bind_endpoints(std::slice::from_ref(&endpoint), Family::Any).unwrap();
    // Kept under another name, so that its inode is not used again.
    std::fs::rename(&path, folder.0.join("moved")).unwrap();
    let second = bind_endpoints(&[endpoint], Family::Any).unwrap();
    drop(first);
    assert!(path.exists());
    drop(second);
    assert!(!path.exists());
}

#[test]
fn a_missing_directory_is_named() {
    let folder = Folder::new("dir");
    let (path, endpoint) = folder.endpoint("no/s");
    let directory = path.parent().unwrap().to_owned();
    assert_eq!(bind_endpoints(&[endpoint], Family::Any).unwrap_err(), ListenProblem::NoDirectory { directory });
    let (file, _) = folder.endpoint("file");
    std::fs::write(&file, "").unwrap();
    let (_, endpoint) = folder.endpoint("file/s");
    assert_eq!(bind_endpoints(&[endpoint], Family::Any).unwrap_err(), ListenProblem::NoDirectory { directory: file });
}

/// Runs in a child of [`running_out_of_descriptors_is_told_and_passes`], and is nothing by itself.
#[test]
fn child_that_runs_out_of_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    if std::env::var_os("SOTONG_TEST_EXHAUSTED").is_none() {
        return;
    }
    let listener = one("127.0.0.1:0");
    let mut client = TcpStream::connect(("127.0.0.1", port(&listener))).unwrap();
    wait(&listener);
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(0), maximum: limit.maximum }).unwrap();
    for _ in 0..3 {
        assert!(matches!(listener.accept(true), Err(AcceptError::Exhausted(_))));
    }
    setrlimit(Resource::Nofile, limit).unwrap();
    let (socket, _) = accept(&listener);
    socket.send_vectored(&[IoSlice::new(b"late")], false).unwrap();
    drop(socket);
    let mut heard = String::new();
    client.read_to_string(&mut heard).unwrap();
    println!("heard={heard}");
}

#[test]
fn running_out_of_descriptors_is_told_and_passes() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_runs_out_of_descriptors", "--nocapture"])
        .env("SOTONG_TEST_EXHAUSTED", "1")
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("heard=late\n"), "{output:?}");
}

/// Runs in a child of [`listeners_passed_by_number_are_taken`], and is nothing by itself.
#[test]
fn child_that_takes_what_was_passed() {
    if std::env::var_os("SOTONG_TEST_PASSED").is_none() {
        return;
    }
    let passed: Vec<String> =
        sotong_net::passed::take_passed().unwrap().iter().map(|bound| bound.endpoint().to_string()).collect();
    println!("passed={}", passed.join(","));
}

#[test]
fn listeners_passed_by_number_are_taken() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = tcp.local_addr().unwrap().port();
    let run = |count: &str| {
        let output = Command::new("sh")
            .args([
                "-c",
                "LISTEN_PID=$$ exec \"$0\" --exact child_that_takes_what_was_passed --nocapture 3<&0 </dev/null",
            ])
            .arg(std::env::current_exe().unwrap())
            .env("LISTEN_FDS", count)
            .env("SOTONG_TEST_PASSED", "1")
            .stdin(std::os::fd::OwnedFd::from(tcp.try_clone().unwrap()))
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (ok, said) = run("1");
    assert!(ok && said.contains(&format!("passed=tcp://127.0.0.1:{port}\n")), "{said}");
    let (ok, said) = run("0");
    assert!(ok && said.contains("passed=\n"), "{said}");
    assert!(!run("many").0);
}

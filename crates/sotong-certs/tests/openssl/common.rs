//! What openssl makes, once for all tests, and openssl as a peer.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, Stream};
use sotong_certs::{ClientTls, IdentityFiles, ServerName, ServerTls, Trust};

/// Only a guard against hanging.
const HANG: Duration = Duration::from_secs(60);

/// A folder of certificates and keys. Statics are never dropped, so it is the next test that clears it away.
pub(crate) struct Pki(PathBuf);

/// The folder with everything that openssl makes; `None` where there is no openssl.
pub(crate) fn pki() -> Option<&'static Pki> {
    static PKI: OnceLock<Option<Pki>> = OnceLock::new();
    let found = PKI.get_or_init(|| Command::new("openssl").arg("version").output().is_ok().then(Pki::make)).as_ref();
    if found.is_none() {
        assert!(std::env::var("SOTONG_TOOLS").as_deref() != Ok("required"), "openssl is not installed");
        println!("skipped: a test with openssl, which is not installed");
    }
    found
}

/// Runs openssl in a folder, and shows what it says if it fails.
#[track_caller]
pub(crate) fn openssl(folder: &Path, line: &str) -> String {
    let output = output(folder, line);
    assert!(output.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn output(folder: &Path, line: &str) -> Output {
    let words = line.split_whitespace();
    Command::new("openssl").args(words).current_dir(folder).stdin(Stdio::null()).output().expect("openssl runs")
}

/// Each kind of key file: its name, and how it is made.
pub(crate) const KEYS: [(&str, &str); 7] = [
    ("rsa-pkcs1", "genrsa -traditional -out rsa-pkcs1.key 2048"),
    ("rsa-pkcs8", "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa-pkcs8.key"),
    ("ec-sec1", "ecparam -name prime256v1 -genkey -out ec-sec1.key"),
    ("ec-sec1-bare", "ecparam -name prime256v1 -genkey -noout -out ec-sec1-bare.key"),
    ("ec-pkcs8", "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ec-pkcs8.key"),
    ("p384", "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out p384.key"),
    ("ed25519", "genpkey -algorithm ED25519 -out ed25519.key"),
];

const NAMES: &str = "subjectAltName=DNS:localhost,DNS:*.test.example,IP:127.0.0.1,IP:::1";

impl Pki {
    fn make() -> Self {
        let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("openssl");
        for old in fs::read_dir(&all).into_iter().flatten().flatten() {
            if !Path::new("/proc").join(old.file_name()).exists() {
                let _ = fs::remove_dir_all(old.path());
            }
        }
        let folder = all.join(std::process::id().to_string());
        fs::create_dir_all(&folder).expect("a folder");
        let pki = Self(folder);
        pki.authorities();
        for (name, key) in KEYS {
            pki.openssl(key);
            pki.issue(name, "mid", NAMES, "20200101000000Z", "20490101000000Z");
        }
        for (name, from, to) in
            [("expired", "20200101000000Z", "20210101000000Z"), ("future", "20480101000000Z", "20490101000000Z")]
        {
            pki.key(name);
            pki.issue(name, "mid", NAMES, from, to);
        }
        for (name, extension) in [
            ("other", "subjectAltName=DNS:other.example,IP:192.0.2.1"),
            ("client", "extendedKeyUsage=clientAuth\nsubjectAltName=email:a@test.example"),
            ("nameless", "keyUsage=digitalSignature"),
        ] {
            pki.key(name);
            pki.issue(name, "mid", extension, "20200101000000Z", "20490101000000Z");
        }
        // As everybody makes them: one for localhost that is its own authority, and one that openssl makes of version 1.
        pki.key("self");
        pki.openssl(
            "req -x509 -key self.key -days 30 -subj /CN=self -addext subjectAltName=DNS:localhost -out self.pem",
        );
        pki.key("old");
        pki.openssl("req -new -key old.key -subj /CN=localhost -out old.csr");
        pki.openssl("x509 -req -in old.csr -CA root.pem -CAkey root.key -CAcreateserial -days 30 -out old.pem");
        pki
    }

    /// A root, an authority between, and a root that nobody knows.
    fn authorities(&self) {
        for name in ["root", "stranger", "mid"] {
            self.key(name);
        }
        self.openssl("req -x509 -key root.key -days 3650 -subj /CN=Root/O=Test -out root.pem");
        self.openssl("req -x509 -key stranger.key -days 3650 -subj /CN=Stranger -out stranger.pem");
        let ca = "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign,cRLSign";
        self.issue("mid", "root", ca, "20200101000000Z", "20490101000000Z");
    }

    /// A certificate for NAME.key by an authority, and NAME.chain.pem with the authority behind it.
    fn issue(&self, name: &str, by: &str, extension: &str, from: &str, to: &str) {
        self.write(&format!("{name}.ext"), extension);
        self.write("index.txt", "");
        self.write("index.txt.attr", "unique_subject = no\n");
        self.write(
            "ca.cnf",
            "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\nnew_certs_dir=.\nrand_serial=yes\ndefault_md=sha256\npolicy=p\n\
             copy_extensions=none\n[p]\ncommonName=supplied\norganizationName=optional\n",
        );
        self.openssl(&format!("req -new -key {name}.key -subj /CN={name} -out {name}.csr"));
        self.openssl(&format!(
            "ca -batch -notext -config ca.cnf -cert {by}.pem -keyfile {by}.key -startdate {from} -enddate {to} -extfile \
             {name}.ext -in {name}.csr -out {name}.pem"
        ));
        let chain = [name, by].map(|part| fs::read_to_string(self.path(&format!("{part}.pem"))).expect("PEM"));
        self.write(&format!("{name}.chain.pem"), chain.concat());
    }

    fn key(&self, name: &str) {
        self.openssl(&format!("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {name}.key"));
    }

    #[track_caller]
    pub(crate) fn openssl(&self, line: &str) -> String {
        openssl(&self.0, line)
    }

    pub(crate) fn output(&self, line: &str) -> Output {
        output(&self.0, line)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), text).expect("written");
        self.path(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("a text")
    }

    /// A certificate with its chain, and its key.
    pub(crate) fn identity(&self, name: &str) -> IdentityFiles {
        IdentityFiles { cert: self.path(&format!("{name}.chain.pem")), key: Some(self.path(&format!("{name}.key"))) }
    }

    /// A server with these certificates.
    pub(crate) fn server(&self, names: &[&str]) -> ServerTls {
        ServerTls { identities: names.iter().map(|name| self.identity(name)).collect(), ..ServerTls::default() }
    }

    /// A client that trusts one file.
    pub(crate) fn client(&self, ca: &str) -> ClientTls {
        ClientTls { trust: Trust::Files(vec![self.path(ca)]), ..ClientTls::default() }
    }
}

/// `openssl s_server`, which answers what it is asked with the same line reversed.
pub(crate) struct OpensslServer {
    child: Child,
    pub(crate) address: String,
}

impl OpensslServer {
    pub(crate) fn start(pki: &Pki, line: &str) -> Self {
        let words = format!("s_server -accept 127.0.0.1:0 -rev {line}");
        let mut child = Command::new("openssl")
            .args(words.split_whitespace())
            .current_dir(pki.path(""))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl runs");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let address = lines.find_map(|line| line.ok()?.strip_prefix("ACCEPT ").map(str::to_owned));
        // It says more than a pipe holds, and must not wait for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address: address.expect("it listens") }
    }
}

impl Drop for OpensslServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Connects with a configuration, says a line, and returns the answer.
pub(crate) fn ask(config: &Arc<ClientConfig>, address: &str, name: &str) -> Result<(String, ClientConnection), String> {
    let mut socket = TcpStream::connect(address).expect("somebody listens");
    socket.set_read_timeout(Some(HANG)).expect("a time limit");
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut connection = ClientConnection::new(Arc::clone(config), name).expect("a connection");
    let mut answer = String::new();
    let mut stream = BufReader::new(Stream::new(&mut connection, &mut socket));
    stream.get_mut().write_all(b"hello\n").map_err(|fault| fault.to_string())?;
    stream.read_line(&mut answer).map_err(|fault| fault.to_string())?;
    Ok((answer, connection))
}

/// A server of one configuration at a time for `count` connections, which answers each line with `heard` before it.
pub(crate) fn serve(
    count: usize,
    config: impl Fn() -> Arc<ServerConfig> + Send + 'static,
) -> (String, std::thread::JoinHandle<Vec<Result<ServerConnection, String>>>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let one = move || {
        let (mut socket, _) = listener.accept().expect("a client");
        socket.set_read_timeout(Some(HANG)).expect("a time limit");
        let mut connection = ServerConnection::new(config()).expect("a connection");
        let mut stream = BufReader::new(Stream::new(&mut connection, &mut socket));
        let mut line = String::new();
        stream.read_line(&mut line).map_err(|fault| fault.to_string())?;
        stream.get_mut().write_all(format!("heard {line}").as_bytes()).map_err(|fault| fault.to_string())?;
        drop(stream);
        connection.send_close_notify();
        connection.complete_io(&mut socket).map_err(|fault| fault.to_string())?;
        // Closing with unread input would reset the connection and eat the answer.
        let _ = socket.shutdown(std::net::Shutdown::Write);
        let _ = socket.read_to_end(&mut Vec::new());
        Ok(connection)
    };
    (address, std::thread::spawn(move || (0..count).map(|_| one()).collect()))
}

/// `openssl s_client`, which says one line: everything that it printed.
pub(crate) fn s_client(pki: &Pki, address: &str, line: &str) -> String {
    let words = format!("s_client -connect {address} -ign_eof {line}");
    let mut child = Command::new("openssl")
        .args(words.split_whitespace())
        .current_dir(pki.path(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    // It may have left already, refused.
    let _ = stdin.write_all(b"hello\n");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

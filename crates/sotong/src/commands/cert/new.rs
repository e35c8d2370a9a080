//! `sotong cert new`: a certificate by the local authority.

use std::path::Path;

use sotong_certs::{Authority, Holder, Order, Overwrite, authority_folder, data_folder, utc};

use crate::catalogue::text;
use crate::cli::cert::{CertNew, KeyType};
use crate::console::Console;
use crate::failure::{self, Failure, Usage};

pub(super) fn run(args: &CertNew, console: &Console) -> Result<(), Failure> {
    let holder = match &args.names[..] {
        [_, second, ..] if args.client => {
            return Err(Failure::Usage(Usage::UnexpectedValue { value: second.clone() }));
        }
        [name] if args.client => Holder::Client(name.clone()),
        names => Holder::Server(names.iter().map(|name| name.parse()).collect::<Result<_, _>>()?),
    };
    let key = match args.key_type {
        KeyType::Ecdsa => sotong_certs::KeyType::Ecdsa,
        KeyType::Ed25519 => sotong_certs::KeyType::Ed25519,
    };
    let authority = open(console)?;
    let overwrite = if args.force { Overwrite::Force } else { Overwrite::Never };
    let order = Order { holder, days: args.days, key };
    // `localhost.pem` is easier to read, and to copy, than `./localhost.pem`.
    let folder = if args.out == Path::new(".") { Path::new("") } else { &args.out };
    let issued = authority.issue(&order, folder, overwrite)?;
    let until = utc(issued.facts.not_after);
    let said = match &order.holder {
        Holder::Server(_) => {
            text!(console.catalogue, "cert-new-server", names = issued.facts.names.join(", "), until = until)
        }
        Holder::Client(name) => text!(console.catalogue, "cert-new-client", name = name.clone(), until = until),
    };
    console.say(&said);
    console.out(&format!("{}\n{}\n", issued.cert.display(), issued.key.display()))
}

/// The authority; a person is told when it has just been made, and when others may read its key.
pub(super) fn open(console: &Console) -> Result<Authority, Failure> {
    let authority = Authority::open(&authority_folder(&data_folder()?))?;
    if authority.is_new() {
        console.say(&text!(console.catalogue, "cert-authority-made", file = authority.file().display().to_string()));
    }
    if let Some(warning) = authority.warning() {
        console.warn("key readable by others", |catalogue| failure::certs::warning(catalogue, &warning));
    }
    Ok(authority)
}

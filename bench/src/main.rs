//! quick
use bench::{cell::*, load::raise_descriptors, server::*, workload::*};
fn main() {
    raise_descriptors().unwrap();
    let cores = Cores::pick().unwrap();
    let exe = std::env::current_exe().unwrap();
    let i = std::sync::atomic::AtomicBool::new(false);
    let b = Bench {
        folder: exe.parent().unwrap(),
        cores,
        scale: Scale::Full,
        length: std::time::Duration::from_millis(1000),
        interrupted: &i,
    };
    for w in Workload::ALL {
        for s in Server::all() {
            if let Some(why) = s.lacks(w) {
                println!("{w} {} {why}", s.name());
                continue;
            }
            let t = std::time::Instant::now();
            match b.measure(&s, w) {
                Ok(f) => println!("{w} {} {:?} {f:?} in {:?}", s.name(), f.for_each_cpu_second(), t.elapsed()),
                Err(e) => println!("{w} {} ERR {e}", s.name()),
            }
        }
    }
}

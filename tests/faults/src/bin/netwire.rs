//! A link emulator for machines without `tc netem`: one TUN device per end, and every packet between
//! two of them is delayed, lost or reordered as configured.
//!
//! ```text
//! usage: vibecoin-netwire PREFIX ENDS SEED [delay-ms=N] [jitter-ms=N] [loss=P] [reorder=P]
//! ```
//! The devices are called PREFIX0 to PREFIX(ENDS-1). The parent process moves each into its namespace
//! and assigns it an address whose last byte is 10 + its number; that byte alone decides the
//! destination of a packet. One line `ready` on stdout reports that they exist. Each line on stdin
//! changes the links from then on; the end of stdin ends the program, and with it the devices.

use std::io::BufRead as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use tappers::{DeviceState, Interface, Tun};
use vibecoin_tests_faults::wire::{Link, Packet, Wire, ipv4_destination};

/// The last byte of the address of end 0.
const FIRST_HOST: u8 = 10;
/// Maximum number of ends of one wire.
const ENDS_MAX: usize = 32;
/// Maximum size of a forwarded packet, in bytes.
const PACKET_BYTES_MAX: usize = 65_536;
/// Packets between the readers and the wire.
const QUEUE_MAX: usize = 1024;
/// Sleep of the wire when nothing is in transit.
const IDLE: Duration = Duration::from_millis(500);

enum Heard {
    Packet(Packet),
    Link(Link),
    End,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: vibecoin-netwire: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [prefix, ends, seed, links @ ..] = arguments.as_slice() else {
        return Err(
            "usage: vibecoin-netwire PREFIX ENDS SEED [delay-ms=N] [jitter-ms=N] [loss=P] [reorder=P]".into(),
        );
    };
    let ends: usize = ends
        .parse()
        .map_err(|_| format!("{ends:?} is no number of ends"))?;
    if ends > ENDS_MAX {
        return Err(format!("{ends} ends, allowed are at most {ENDS_MAX}"));
    }
    let seed: u64 = seed.parse().map_err(|_| format!("{seed:?} is no seed"))?;
    let link = Link::parse(&links.join(" "))?;
    let devices = (0..ends)
        .map(|end| open(&format!("{prefix}{end}")).map(Arc::new))
        .collect::<Result<Vec<_>, _>>()?;
    let (tell, heard) = sync_channel(QUEUE_MAX);
    for (end, device) in devices.iter().enumerate() {
        let (device, tell) = (Arc::clone(device), tell.clone());
        std::thread::spawn(move || read(&device, end, ends, &tell));
    }
    std::thread::spawn(move || control(&tell));
    println!("ready");
    pass(&heard, &devices, Wire::new(link, seed));
    Ok(())
}

fn open(name: &str) -> Result<Tun, String> {
    let fail = |error: std::io::Error| {
        format!("TUN device {name}: {error}; is this root, and is there /dev/net/tun?")
    };
    let mut tun = Tun::new_named(Interface::new(name).map_err(fail)?).map_err(fail)?;
    tun.set_state(DeviceState::Down).map_err(fail)?;
    Ok(tun)
}

/// Reads one device until the program ends. A device that is down returns errors: the reader waits.
fn read(device: &Tun, end: usize, ends: usize, tell: &SyncSender<Heard>) {
    let mut bytes = vec![0; PACKET_BYTES_MAX];
    loop {
        let Ok(len) = device.recv(&mut bytes) else {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        let packet = bytes.get(..len).unwrap_or_default();
        let to = ipv4_destination(packet)
            .and_then(|host| host.checked_sub(FIRST_HOST))
            .map(usize::from)
            .filter(|to| *to < ends);
        if let Some(to) = to {
            let packet = Packet {
                from: end,
                to,
                bytes: packet.to_vec(),
            };
            if tell.send(Heard::Packet(packet)).is_err() {
                return;
            }
        }
    }
}

fn control(tell: &SyncSender<Heard>) {
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        match Link::parse(&line) {
            Ok(link) => {
                if tell.send(Heard::Link(link)).is_err() {
                    return;
                }
                println!("set");
            }
            Err(error) => println!("refused {error}"),
        }
    }
    let _already_ended = tell.send(Heard::End);
}

/// Moves packets until stdin ends.
fn pass(heard: &Receiver<Heard>, devices: &[Arc<Tun>], mut wire: Wire) {
    let start = Instant::now();
    let now_us = || u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
    loop {
        while let Some(packet) = wire.pop(now_us()) {
            if let Some(device) = devices.get(packet.to) {
                // A device that is down loses the packet, as a real one does.
                let _lost = device.send(&packet.bytes);
            }
        }
        let wait = wire
            .next_due()
            .map_or(IDLE, |at| Duration::from_micros(at.saturating_sub(now_us())));
        match heard.recv_timeout(wait) {
            Ok(Heard::Packet(packet)) => wire.push(now_us(), packet),
            Ok(Heard::Link(link)) => wire.set(link),
            Ok(Heard::End) | Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
    eprintln!(
        "vibecoin-netwire: lost {} overflowed {}",
        wire.lost, wire.overflowed
    );
}

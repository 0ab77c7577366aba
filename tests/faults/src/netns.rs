//! Network namespaces on one bridge, and faults of the packets between them.
//!
//! ```text
//!   host ── bridge 10.a.b.1 ──┬── veth ── namespace 0, eth0 10.a.b.10
//!                             ├── veth ── namespace 1, eth0 10.a.b.11
//!                             └── …           and, with an emulated link, a second network
//!                                             10.(a+64).b.10, … over TUN devices
//! ```
//! Every name starts with the process id of its owner. Namespaces of a dead owner are removed by the
//! next one; those of a living one are removed when it is dropped. The host always reaches every
//! namespace: faults are between the namespaces alone.

use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

use vibecoin_tests_nodes::Piped;

/// Prefix of all names.
const PREFIX: &str = "vcf";
/// The last byte of the address of namespace 0.
const FIRST_HOST: u8 = 10;
/// Maximum number of namespaces of one network: the device names must stay short.
pub const ENDS_MAX: usize = 10;
/// Subnets that are tried before giving up.
const SUBNETS_TRIED: u8 = 64;

/// Networks made by this process so far.
static MADE: AtomicU8 = AtomicU8::new(0);

/// A missing feature of the machine, or a command that failed. Shown alike in a panic.
#[derive(thiserror::Error)]
#[error("{what}: {detail}; {remedy}")]
pub struct NetError {
    what: String,
    detail: String,
    remedy: &'static str,
}

impl fmt::Debug for NetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

const ROOT_AND_TOOLS: &str =
    "these tests need root, the Debian packages iproute2 and iptables, and a kernel with network namespaces";

fn run(command: &mut Command) -> Result<String, NetError> {
    let fail = |detail: String, command: &Command| NetError {
        what: format!("{command:?}"),
        detail,
        remedy: ROOT_AND_TOOLS,
    };
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| fail(error.to_string(), command))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(fail(format!("{} ({said})", output.status), command));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn ip(arguments: &str) -> Result<String, NetError> {
    run(Command::new("ip").args(arguments.split_whitespace()))
}

/// Checks that this machine has all required features, and returns its description. A feature that
/// is missing is an error: a test that needs it fails and does not pass by doing nothing.
///
/// # Errors
/// [`NetError`] with the first thing that does not work.
pub fn probe() -> Result<String, NetError> {
    let kernel = run(Command::new("uname").arg("-r"))?;
    let net = Net::new(2)?;
    net.cut(0, 1)?;
    net.lose_everywhere(200_000)?;
    net.heal()?;
    let control = net.congestion_control(0)?;
    Ok(format!("kernel {}, tcp {control}", kernel.trim()))
}

/// Namespaces on a bridge.
#[derive(Debug)]
pub struct Net {
    /// `vcf`, the process id and a letter.
    name: String,
    subnet: (u8, u8),
    ends: usize,
    wire: Option<EmulatedLink>,
}

impl Net {
    /// Makes this many namespaces, after removing those of dead owners.
    ///
    /// # Errors
    /// [`NetError`] when the machine cannot, or all subnets are taken.
    pub fn new(ends: usize) -> Result<Self, NetError> {
        remove_stale()?;
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let letter = char::from(b'a'.saturating_add(number % 26));
        let name = format!("{PREFIX}{}{letter}", std::process::id());
        let subnet = free_subnet(number)?;
        // From here on, dropping it cleans up.
        let net = Self {
            name,
            subnet,
            ends: ends.min(ENDS_MAX),
            wire: None,
        };
        let (bridge, host) = (net.bridge(), net.host());
        ip(&format!("link add {bridge} type bridge"))?;
        ip(&format!("addr add {host}/24 dev {bridge}"))?;
        ip(&format!("link set {bridge} up"))?;
        for end in net.all() {
            net.add(end)?;
        }
        Ok(net)
    }

    fn add(&self, end: usize) -> Result<(), NetError> {
        let (space, veth, address) = (self.namespace(end), self.veth(end), self.address(end));
        ip(&format!("netns add {space}"))?;
        ip(&format!("link add {veth} type veth peer name eth0 netns {space}"))?;
        ip(&format!("link set {veth} master {} up", self.bridge()))?;
        ip(&format!("-n {space} addr add {address}/24 dev eth0"))?;
        ip(&format!("-n {space} link set lo up"))?;
        ip(&format!("-n {space} link set eth0 up"))?;
        Ok(())
    }

    /// Number of namespaces.
    #[must_use]
    pub const fn ends(&self) -> usize {
        self.ends
    }

    fn all(&self) -> std::ops::Range<usize> {
        0..self.ends
    }

    fn bridge(&self) -> String {
        format!("{}b", self.name)
    }

    fn veth(&self, end: usize) -> String {
        format!("{}v{end}", self.name)
    }

    /// The name of a namespace.
    #[must_use]
    pub fn namespace(&self, end: usize) -> String {
        format!("{}-{end}", self.name)
    }

    /// The host's address on the bridge.
    #[must_use]
    pub fn host(&self) -> String {
        format!("10.{}.{}.1", self.subnet.0, self.subnet.1)
    }

    /// The address of a namespace on the bridge.
    #[must_use]
    pub fn address(&self, end: usize) -> String {
        format!("10.{}.{}.{}", self.subnet.0, self.subnet.1, last_byte(end))
    }

    /// The address at which the other namespaces reach this one: on the emulated link where there is one.
    #[must_use]
    pub fn peer_address(&self, end: usize) -> String {
        let (mut a, b) = self.subnet;
        if self.wire.is_some() {
            a = a.saturating_add(64);
        }
        format!("10.{a}.{b}.{}", last_byte(end))
    }

    /// A command that runs in a namespace. The process that it starts becomes the program itself.
    #[must_use]
    pub fn command(&self, end: usize, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(end)]).arg(program);
        command
    }

    fn inside(&self, end: usize, command: &str) -> Result<String, NetError> {
        let arguments = command.split_whitespace();
        run(Command::new("ip")
            .args(["netns", "exec", &self.namespace(end)])
            .args(arguments))
    }

    /// Congestion control of TCP in a namespace. It decides how much loss hurts.
    ///
    /// # Errors
    /// [`NetError`] when it cannot be read.
    pub fn congestion_control(&self, end: usize) -> Result<String, NetError> {
        self.inside(end, "cat /proc/sys/net/ipv4/tcp_congestion_control")
            .map(|text| text.trim().to_owned())
    }

    /// Packets from one namespace no longer reach the other. The way back stays open.
    ///
    /// # Errors
    /// [`NetError`] when a rule cannot be set.
    pub fn cut(&self, from: usize, to: usize) -> Result<(), NetError> {
        self.drop_packets(from, to, "")
    }

    fn drop_packets(&self, from: usize, to: usize, which: &str) -> Result<(), NetError> {
        for source in BTreeSet::from([self.address(from), self.peer_address(from)]) {
            self.inside(to, &format!("iptables -w -A INPUT -s {source} {which} -j DROP"))?;
        }
        Ok(())
    }

    /// Cuts every path between namespaces of different groups. One that is in none is left as it
    /// is.
    ///
    /// # Errors
    /// [`NetError`] when a rule cannot be set.
    pub fn partition(&self, groups: &[&[usize]]) -> Result<(), NetError> {
        for (number, group) in groups.iter().enumerate() {
            for others in groups.iter().skip(number.saturating_add(1)) {
                for (a, b) in group.iter().flat_map(|a| others.iter().map(move |b| (*a, *b))) {
                    self.cut(a, b)?;
                    self.cut(b, a)?;
                }
            }
        }
        Ok(())
    }

    /// Loses so many packets of a million on every path between two namespaces, in each direction.
    ///
    /// # Errors
    /// [`NetError`] when a rule cannot be set.
    pub fn lose_everywhere(&self, ppm: u32) -> Result<(), NetError> {
        let share = format!("-m statistic --mode random --probability 0.{ppm:06}");
        for (from, to) in self.all().flat_map(|a| self.all().map(move |b| (a, b))) {
            if from != to {
                self.drop_packets(from, to, &share)?;
            }
        }
        Ok(())
    }

    /// Adds addresses to a namespace, and routes to them for the others.
    ///
    /// # Errors
    /// [`NetError`] when they cannot be set.
    pub fn add_addresses(&self, end: usize, addresses: &[Ipv4Addr]) -> Result<(), NetError> {
        for address in addresses {
            ip(&format!(
                "-n {} addr add {address}/32 dev eth0",
                self.namespace(end)
            ))?;
            for other in self.all().filter(|other| *other != end) {
                ip(&format!(
                    "-n {} route add {address}/32 dev eth0",
                    self.namespace(other)
                ))?;
            }
        }
        Ok(())
    }

    /// Routes packets without another route out of a namespace onto the bridge, where no host accepts
    /// them: so they can be counted.
    ///
    /// # Errors
    /// [`NetError`] when the route cannot be set.
    pub fn lead_astray(&self, end: usize) -> Result<(), NetError> {
        ip(&format!("-n {} route add default dev eth0", self.namespace(end))).map(|_| ())
    }

    /// Counts packets that leave a namespace and match, in the syntax of iptables, from now on.
    ///
    /// # Errors
    /// [`NetError`] when the rule cannot be set.
    pub fn count_leaving(&self, end: usize, which: &str) -> Result<(), NetError> {
        self.inside(end, &format!("iptables -w -A OUTPUT {which}"))
            .map(|_| ())
    }

    /// The counts of [`Net::count_leaving`], in the order of its calls.
    ///
    /// # Errors
    /// [`NetError`] when they cannot be read.
    pub fn counted(&self, end: usize) -> Result<Vec<u64>, NetError> {
        let text = self.inside(end, "iptables -w -nvxL OUTPUT")?;
        // Two header lines; then packets are the first column.
        let rows = text
            .lines()
            .skip(2)
            .filter_map(|line| line.split_whitespace().next());
        Ok(rows.filter_map(|packets| packets.parse().ok()).collect())
    }

    /// Removes every cut and all loss.
    ///
    /// # Errors
    /// [`NetError`] when the rules cannot be removed.
    pub fn heal(&self) -> Result<(), NetError> {
        self.all()
            .try_for_each(|end| self.inside(end, "iptables -w -F INPUT").map(|_| ()))
    }

    /// Connects the namespaces by a second network whose links are emulated by `netwire`, a program
    /// of this crate; `links` has the parameters, such as `delay-ms=50 jitter-ms=10`.
    ///
    /// # Errors
    /// [`NetError`] when there are no TUN devices.
    pub fn emulate(&mut self, netwire: &Path, seed: u64, links: &str) -> Result<(), NetError> {
        let prefix = format!("{}t", self.name);
        let wire = EmulatedLink::start(netwire, &prefix, self.ends, seed, links)?;
        self.wire = Some(wire);
        for end in self.all() {
            let (space, device) = (self.namespace(end), format!("{prefix}{end}"));
            ip(&format!("link set {device} netns {space}"))?;
            ip(&format!(
                "-n {space} addr add {}/24 dev {device}",
                self.peer_address(end)
            ))?;
            ip(&format!("-n {space} link set {device} up"))?;
        }
        Ok(())
    }

    /// Changes the emulated links.
    ///
    /// # Errors
    /// [`NetError`] when there are none, or the figures are refused.
    pub fn set_links(&mut self, links: &str) -> Result<(), NetError> {
        match &mut self.wire {
            Some(wire) => wire.set(links),
            None => Err(wire_error("no emulated links", String::new())),
        }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        self.wire = None;
        for end in self.all() {
            let _already_gone = ip(&format!("netns del {}", self.namespace(end)));
            // A namespace exists while a process is in it; its device must not.
            let _already_gone = ip(&format!("link del {}", self.veth(end)));
        }
        let _already_gone = ip(&format!("link del {}", self.bridge()));
    }
}

fn last_byte(end: usize) -> u8 {
    FIRST_HOST.saturating_add(u8::try_from(end).unwrap_or(u8::MAX))
}

/// A subnet that no device of this machine has.
fn free_subnet(number: u8) -> Result<(u8, u8), NetError> {
    let taken = ip("-4 -o addr")?;
    let [low, high, ..] = std::process::id().to_le_bytes();
    (0..SUBNETS_TRIED)
        .map(|step| {
            let a = 64u8.saturating_add(high.wrapping_add(step) % 64);
            (a, low.wrapping_add(number.wrapping_mul(31)))
        })
        .find(|(a, b)| !taken.contains(&format!(" 10.{a}.{b}.")))
        .ok_or_else(|| NetError {
            what: "find a free subnet".to_owned(),
            detail: format!("{SUBNETS_TRIED} of 10.64.0.0/10 are taken"),
            remedy: "remove stale devices with `ip link del`",
        })
}

/// Removes namespaces and devices of ended owners, with the processes in them.
fn remove_stale() -> Result<(), NetError> {
    let spaces = ip("netns list")?;
    for space in spaces.lines().filter_map(|line| line.split_whitespace().next()) {
        if !owner_is_gone(space) {
            continue;
        }
        for pid in ip(&format!("netns pids {space}"))?.split_whitespace() {
            let _already_gone = run(Command::new("kill").args(["-9", pid]));
        }
        ip(&format!("netns del {space}"))?;
    }
    let links = ip("-o link")?;
    for line in links.lines() {
        let name = line.split(": ").nth(1).unwrap_or_default();
        let name = name.split('@').next().unwrap_or_default();
        if owner_is_gone(name) {
            // The other end of a pair is removed with the first.
            let _already_gone = ip(&format!("link del {name}"));
        }
    }
    Ok(())
}

fn owner_is_gone(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(PREFIX) else {
        return false;
    };
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let pid: Option<u32> = rest.get(..digits).and_then(|digits| digits.parse().ok());
    pid.is_some_and(|pid| !PathBuf::from(format!("/proc/{pid}")).exists())
}

/// The running emulator. The end of its input ends it, and removes its devices.
#[derive(Debug)]
struct EmulatedLink(Piped);

fn wire_error(what: &str, detail: String) -> NetError {
    NetError {
        what: what.to_owned(),
        detail,
        remedy: "vibecoin-netwire needs root and /dev/net/tun",
    }
}

impl EmulatedLink {
    fn start(program: &Path, prefix: &str, ends: usize, seed: u64, links: &str) -> Result<Self, NetError> {
        let mut command = Command::new(program);
        command.args([prefix, &ends.to_string(), &seed.to_string()]);
        let started = Piped::start(command.args(links.split_whitespace()));
        let what = format!("start {}", program.display());
        let mut link = Self(started.map_err(|error| wire_error(&what, error.to_string()))?);
        link.expect("ready")?;
        Ok(link)
    }

    fn expect(&mut self, word: &str) -> Result<(), NetError> {
        let line = self.0.line();
        if line == word {
            return Ok(());
        }
        Err(wire_error(
            "talk to vibecoin-netwire",
            format!("expected {word:?}, it said {line:?}; its own error is on stderr"),
        ))
    }

    fn set(&mut self, links: &str) -> Result<(), NetError> {
        let sent = self.0.send(links);
        sent.map_err(|error| wire_error("talk to vibecoin-netwire", error.to_string()))?;
        self.expect("set")
    }
}

impl Drop for EmulatedLink {
    fn drop(&mut self) {
        self.0.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_dead_owner_made_is_stale() {
        let own = format!("{PREFIX}{}a-0", std::process::id());
        assert!(!owner_is_gone(&own));
        // Above the maximum process id of Linux.
        assert!(owner_is_gone("vcf4194999a-0"));
        assert!(owner_is_gone("vcf4194999bv3"));
        for name in ["eth0", "vcf", "vcfx", "docker0", "vcf99999999999999999999a"] {
            assert!(!owner_is_gone(name), "{name}");
        }
    }
}

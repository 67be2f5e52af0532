//! What the open files of a process are: kinds by `/proc/PID/fd`, the addresses of sockets by
//! `/proc/PID/net`, and which of them an epoll watches.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::base::Pid;

use super::procfs;

/// Most bytes read of an epoll's `fdinfo`: 100 000 files at about 90 bytes a line.
const MAX_FDINFO: usize = 9 << 20;
/// Most bytes read of a table of sockets: 100 000 at 150 bytes a line.
const MAX_TABLE: usize = 16 << 20;
/// Most bytes of a name.
const MAX_NAME: usize = 256;

/// A socket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SocketInfo {
    /// Whether it waits for connections.
    pub listens: bool,
    /// Protocol and addresses, such as `tcp 10.0.0.1:80 -> 10.0.0.2:3456`.
    pub name: Box<str>,
}

/// Where `/proc/PID/fd/FD` leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FdLink {
    /// `socket:[INODE]`
    Socket(u64),
    /// `pipe:[INODE]`
    Pipe(u64),
    /// `anon_inode:[eventfd]` and others: the name within.
    Anon(Box<str>),
    /// A path.
    Path(Box<str>),
    /// Cannot be read.
    Unknown,
}

/// Reads where a descriptor leads.
pub fn fd_link(pid: Pid, fd: u32) -> FdLink {
    match fs::read_link(procfs::path(pid, &format!("fd/{fd}"))) {
        Ok(target) => parse_link(target.as_os_str().as_bytes()),
        Err(_) => FdLink::Unknown,
    }
}

fn parse_link(target: &[u8]) -> FdLink {
    let text = procfs::display_text(target, MAX_NAME);
    let inode = |rest: &str| rest.strip_suffix(']').and_then(|n| n.parse().ok());
    if let Some(number) = text.strip_prefix("socket:[").and_then(inode) {
        return FdLink::Socket(number);
    }
    if let Some(number) = text.strip_prefix("pipe:[").and_then(inode) {
        return FdLink::Pipe(number);
    }
    if let Some(name) = text.strip_prefix("anon_inode:") {
        return FdLink::Anon(name.trim_matches(['[', ']']).into());
    }
    FdLink::Path(text)
}

/// The descriptors an epoll watches, in rising order; empty if it is none or cannot be read.
pub fn epoll_fds(pid: Pid, epoll: u32) -> Vec<u32> {
    let name = format!("fdinfo/{epoll}");
    let text = procfs::read(pid, &name, "the state of a descriptor", MAX_FDINFO);
    let mut fds = parse_epoll(&text.unwrap_or_default());
    fds.sort_unstable();
    fds.dedup();
    fds
}

fn parse_epoll(text: &[u8]) -> Vec<u32> {
    let lines = text.split(|&b| b == b'\n');
    let fd = |line: &[u8]| {
        let rest = std::str::from_utf8(line.strip_prefix(b"tfd:")?).ok()?;
        rest.split_ascii_whitespace().next()?.parse().ok()
    };
    lines.filter_map(fd).collect()
}

/// The sockets of a process's network namespace, by inode.
#[derive(Clone, Default, Debug)]
pub struct Sockets(HashMap<u64, SocketInfo>);

impl Sockets {
    /// Reads those of these inodes.
    pub fn of(pid: Pid, wanted: &HashSet<u64>) -> Self {
        Self::among(wanted, &|table| {
            let name = format!("net/{table}");
            procfs::read(pid, &name, "the table of sockets", MAX_TABLE).ok()
        })
    }

    /// Reads one table after another until all are found.
    fn among(wanted: &HashSet<u64>, read: &dyn Fn(&str) -> Option<Vec<u8>>) -> Self {
        let mut found = HashMap::new();
        for (table, parse) in TABLES {
            if found.len() >= wanted.len() {
                break;
            }
            let Some(text) = read(table) else { continue };
            for line in String::from_utf8_lossy(&text).lines().skip(1) {
                if let Some((inode, info)) = parse(table, line)
                    && wanted.contains(&inode)
                {
                    found.insert(inode, info);
                }
            }
        }
        Self(found)
    }

    /// A socket.
    pub fn get(&self, inode: u64) -> Option<&SocketInfo> {
        self.0.get(&inode)
    }
}

type Parse = fn(&str, &str) -> Option<(u64, SocketInfo)>;

/// Tables of sockets, with what reads a line of each.
const TABLES: &[(&str, Parse)] = &[
    ("tcp", internet),
    ("tcp6", internet),
    ("unix", unix),
    ("udp", internet),
    ("udp6", internet),
    ("netlink", netlink),
];

/// `sl local_address rem_address st ... inode`: proc_pid_net(5).
fn internet(table: &str, line: &str) -> Option<(u64, SocketInfo)> {
    /// include/net/tcp_states.h
    const TCP_LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_ascii_whitespace().take(10).collect();
    let inode = fields.get(9)?.parse().ok()?;
    let (local, peer) = (address(fields.get(1)?)?, address(fields.get(2)?)?);
    let listens = table.starts_with("tcp") && *fields.get(3)? == TCP_LISTEN;
    let protocol = table.trim_end_matches('6');
    let connected = !peer.ends_with(":0");
    let name = if connected {
        format!("{protocol} {local} -> {peer}")
    } else {
        format!("{protocol} {local}")
    };
    Some((inode, SocketInfo { listens, name: name.into() }))
}

/// `0100007F:1F90`: 32-bit words in the byte order of the machine, the port in that of people.
fn address(text: &str) -> Option<String> {
    let (host, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let digits = host.get(at..at.checked_add(8)?)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    };
    if host.len() == 8 {
        return Some(format!("{}:{port}", Ipv4Addr::from(word(0)?)));
    }
    let mut bytes = [0; 16];
    for (i, part) in bytes.chunks_exact_mut(4).enumerate() {
        part.copy_from_slice(&word(i.checked_mul(8)?)?);
    }
    let ip = Ipv6Addr::from(bytes);
    match ip.to_ipv4_mapped() {
        Some(ip) => Some(format!("{ip}:{port}")),
        None => Some(format!("[{ip}]:{port}")),
    }
}

/// `Num RefCount Protocol Flags Type St Inode Path`
fn unix(_: &str, line: &str) -> Option<(u64, SocketInfo)> {
    /// `__SO_ACCEPTCON` of include/linux/net.h.
    const ACCEPTS: u64 = 1 << 16;
    let fields: Vec<&str> = line.split_ascii_whitespace().take(8).collect();
    let inode = fields.get(6)?.parse().ok()?;
    let flags = u64::from_str_radix(fields.get(3)?, 16).ok()?;
    let path = fields.get(7).copied().unwrap_or_default();
    let name = procfs::display_text(format!("unix {path}").trim_end().as_bytes(), MAX_NAME);
    Some((inode, SocketInfo { listens: flags & ACCEPTS != 0, name }))
}

/// `sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode`
fn netlink(_: &str, line: &str) -> Option<(u64, SocketInfo)> {
    let inode = line.split_ascii_whitespace().nth(9)?.parse().ok()?;
    Some((inode, SocketInfo { listens: false, name: "netlink".into() }))
}

/// Entry for fuzzing: no bytes of these files may cause a panic.
pub fn fuzz_fds(bytes: &[u8]) {
    let _ = parse_link(bytes);
    let _ = parse_epoll(bytes);
    for line in String::from_utf8_lossy(bytes).lines() {
        for (table, parse) in TABLES {
            let _ = parse(table, line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_named_by_protocol_and_addresses() {
        let tcp = "   0: 0100007F:1F90 0200007F:0050 01 00000000:00000000 00:00000000 00000000     0        0 12345 1 0000000000000000 100 0 0 10 0";
        let (inode, info) = internet("tcp", tcp).unwrap();
        assert_eq!((inode, &*info.name), (12345, "tcp 127.0.0.1:8080 -> 127.0.0.2:80"));
        let listen = "   1: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 77 1 0000000000000000 100 0 0 10 0";
        let (_, info) = internet("tcp6", listen).unwrap();
        assert_eq!((info.listens, &*info.name), (true, "tcp [::]:22"));
        let path = "0000000000000000: 00000002 00000000 00010000 0001 01 4242 /run/a b";
        let (inode, info) = unix("unix", path).unwrap();
        assert_eq!((inode, info.listens, &*info.name), (4242, true, "unix /run/a"));
    }

    #[test]
    fn tables_are_read_until_all_sockets_are_found_and_none_for_no_socket() {
        let unix = "Num RefCount Protocol Flags Type St Inode Path\n\
            0000000000000000: 00000002 00000000 00000000 0001 03 42 /run/a\n\
            0000000000000000: 00000002 00000000 00000000 0001 03 43 /run/b\n";
        let tables_read = |inodes: &[u64]| {
            let asked = std::cell::RefCell::new(Vec::new());
            let sockets = Sockets::among(&inodes.iter().copied().collect(), &|table| {
                asked.borrow_mut().push(table.to_owned());
                (table == "unix").then(|| unix.as_bytes().to_vec())
            });
            let found = inodes.iter().filter(|inode| sockets.get(**inode).is_some()).count();
            (found, asked.into_inner().len())
        };
        assert_eq!(tables_read(&[]), (0, 0));
        assert_eq!(tables_read(&[42, 43, 42, 42]), (4, 3));
        assert_eq!(tables_read(&[42, 99]), (1, TABLES.len()));
    }

    #[test]
    fn an_epoll_tells_its_files_and_links_tell_their_kind() {
        let text = b"pos:\t0\nflags:\t02\ntfd:        8 events:       19 data: 8  pos:0\ntfd: 5 events: 1\n";
        assert_eq!(parse_epoll(text), [8, 5]);
        assert_eq!(parse_link(b"socket:[99]"), FdLink::Socket(99));
        assert_eq!(parse_link(b"anon_inode:[eventpoll]"), FdLink::Anon("eventpoll".into()));
        assert_eq!(parse_link(b"/dev/null"), FdLink::Path("/dev/null".into()));
        for end in 0..text.len() {
            fuzz_fds(&text[..end]);
        }
    }
}

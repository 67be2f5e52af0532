//! Goroutines that wait by nature in Go programs: the standard library's own and those of
//! libraries that nearly every service uses. Names as `goroutine?debug=2` writes them, read in the
//! sources named beside them. A pool of workers is not here: idle or stuck, it looks the same.

use std::borrow::Cow;

use crate::base::{FunctionAt, IdlePattern, Place, WaitClass};

use Place::{Stack, Start};
use WaitClass::{ChanReceive, Group, Io, Never, Runtime, Select, Sleep};

/// Name, why it is normal, wait classes, functions that are all there.
type Row = (&'static str, &'static str, &'static [WaitClass], &'static [(Place, &'static str)]);

const MAIN: &str = "the main goroutine waits for the end of the program";
const HTTP_SERVER: &str = "a connection kept alive waits for its next request";
const HTTP_CLIENT: &str = "a connection kept in the pool waits for its next use";
const HTTP2: &str = "an open HTTP/2 connection waits for frames";
const SQL: &str = "a worker that database/sql keeps for each pool of connections";
const LOG_FLUSH: &str = "flushes the log now and then";
const GRPC: &str = "an open gRPC connection waits for work";
const WATCH: &str = "waits for changes to be told of";
const ANY: &[WaitClass] = &[];
/// What a loop does that waits for work: not a lock, not a send.
const WORK: &[WaitClass] = &[ChanReceive, Select, Io, Sleep];

/// Special before general: the first that fits names the task.
const TABLE: &[Row] = &[
    // runtime/proc.go. Only waits that end with the program: main may well be stuck on a lock.
    (
        "main goroutine",
        MAIN,
        &[ChanReceive, Select, Never, Group, Io, Sleep],
        &[(Start, "runtime.main")],
    ),
    ("runtime worker", "belongs to the Go runtime", &[Runtime], &[]),
    // os/signal/signal_unix.go
    ("signal loop", "waits for signals", ANY, &[(Stack, "os/signal.loop")]),
    // internal/poll/fd_unix.go: every Accept of package net comes through here.
    (
        "accept loop",
        "a listener waits for connections",
        &[Io],
        &[(Stack, "internal/poll.(*FD).Accept")],
    ),
    // net/http/server.go
    (
        "HTTP keep-alive",
        HTTP_SERVER,
        &[Io],
        &[(Stack, "net/http.(*conn).serve"), (Stack, "bufio.(*Reader).Peek")],
    ),
    (
        "HTTP keep-alive",
        HTTP_SERVER,
        &[Io],
        &[(Stack, "net/http.(*conn).serve"), (Stack, "net/http.(*conn).readRequest")],
    ),
    (
        "HTTP background read",
        "watches a connection for its end while a request is served",
        &[Io],
        &[(Stack, "net/http.(*connReader).backgroundRead")],
    ),
    // net/http/h2_bundle.go up to 1.26, net/http/internal/http2 from 1.27, golang.org/x/net/http2
    ("HTTP/2 connection", HTTP2, WORK, &[(Stack, "net/http.(*http2serverConn).serve")]),
    ("HTTP/2 connection", HTTP2, WORK, &[(Stack, "net/http.(*http2serverConn).readFrames")]),
    ("HTTP/2 connection", HTTP2, WORK, &[(Stack, "net/http.(*http2ClientConn).readLoop")]),
    ("HTTP/2 connection", HTTP2, WORK, &[(Stack, "net/http/internal/http2.(*serverConn).serve")]),
    (
        "HTTP/2 connection",
        HTTP2,
        WORK,
        &[(Stack, "net/http/internal/http2.(*serverConn).readFrames")],
    ),
    (
        "HTTP/2 connection",
        HTTP2,
        WORK,
        &[(Stack, "net/http/internal/http2.(*ClientConn).readLoop")],
    ),
    ("HTTP/2 connection", HTTP2, WORK, &[(Stack, "golang.org/x/net/http2.(*serverConn).serve")]),
    (
        "HTTP/2 connection",
        HTTP2,
        WORK,
        &[(Stack, "golang.org/x/net/http2.(*serverConn).readFrames")],
    ),
    ("HTTP/2 connection", HTTP2, WORK, &[(Stack, "golang.org/x/net/http2.(*ClientConn).readLoop")]),
    // net/http/transport.go
    (
        "HTTP client connection",
        HTTP_CLIENT,
        &[Io, Select],
        &[(Stack, "net/http.(*persistConn).readLoop")],
    ),
    (
        "HTTP client connection",
        HTTP_CLIENT,
        &[Select],
        &[(Stack, "net/http.(*persistConn).writeLoop")],
    ),
    // database/sql/sql.go
    ("SQL connection opener", SQL, &[Select], &[(Stack, "database/sql.(*DB).connectionOpener")]),
    ("SQL connection cleaner", SQL, &[Select], &[(Stack, "database/sql.(*DB).connectionCleaner")]),
    (
        "SQL connection resetter",
        SQL,
        &[Select],
        &[(Stack, "database/sql.(*DB).connectionResetter")],
    ),
    // github.com/golang/glog, k8s.io/klog, k8s.io/klog/v2
    ("log flusher", LOG_FLUSH, WORK, &[(Stack, "github.com/golang/glog.(*loggingT).flushDaemon")]),
    ("log flusher", LOG_FLUSH, WORK, &[(Stack, "github.com/golang/glog.(*fileSink).flushDaemon")]),
    ("log flusher", LOG_FLUSH, WORK, &[(Stack, "k8s.io/klog.(*loggingT).flushDaemon")]),
    ("log flusher", LOG_FLUSH, WORK, &[(Stack, "k8s.io/klog/v2.(*loggingT).flushDaemon")]),
    ("log flusher", LOG_FLUSH, WORK, &[(Stack, "k8s.io/klog/v2.(*flushDaemon).run*")]),
    // gopkg.in/natefinch/lumberjack.v2; the linker writes the last dot of a path as %2e.
    (
        "log rotation",
        "waits until a log file is to be rotated",
        &[ChanReceive],
        &[(Stack, "gopkg.in/natefinch/lumberjack%2ev2.(*Logger).millRun")],
    ),
    (
        "log rotation",
        "waits until a log file is to be rotated",
        &[ChanReceive],
        &[(Stack, "gopkg.in/natefinch/lumberjack.v2.(*Logger).millRun")],
    ),
    // go.opencensus.io/stats/view/worker.go
    (
        "OpenCensus worker",
        "collects statistics now and then",
        &[Select],
        &[(Stack, "go.opencensus.io/stats/view.(*worker).start")],
    ),
    // google.golang.org/grpc
    (
        "gRPC transport",
        GRPC,
        WORK,
        &[(Stack, "google.golang.org/grpc/internal/transport.(*loopyWriter).run")],
    ),
    (
        "gRPC transport",
        GRPC,
        WORK,
        &[(Stack, "google.golang.org/grpc/internal/transport.(*controlBuffer).get")],
    ),
    (
        "gRPC transport",
        GRPC,
        &[Io],
        &[(Stack, "google.golang.org/grpc/internal/transport.(*http2Client).reader")],
    ),
    (
        "gRPC transport",
        GRPC,
        &[Io],
        &[(Stack, "google.golang.org/grpc/internal/transport.(*http2Server).HandleStreams")],
    ),
    (
        "gRPC transport",
        GRPC,
        WORK,
        &[(Stack, "google.golang.org/grpc/internal/transport.(*http2Client).keepalive")],
    ),
    (
        "gRPC transport",
        GRPC,
        WORK,
        &[(Stack, "google.golang.org/grpc/internal/transport.(*http2Server).keepalive")],
    ),
    (
        "gRPC serializer",
        GRPC,
        WORK,
        &[(Stack, "google.golang.org/grpc/internal/grpcsync.(*CallbackSerializer).run")],
    ),
    (
        "gRPC balancer",
        GRPC,
        WORK,
        &[(Stack, "google.golang.org/grpc.(*ccBalancerWrapper).watcher")],
    ),
    // github.com/fsnotify/fsnotify/backend_inotify.go
    ("file watcher", WATCH, WORK, &[(Stack, "github.com/fsnotify/fsnotify.(*inotify).readEvents")]),
    ("file watcher", WATCH, WORK, &[(Stack, "github.com/fsnotify/fsnotify.(*Watcher).readEvents")]),
    // General, by what they wait for.
    ("timer", "sleeps until a time it has set itself", &[Sleep], &[]),
    ("network or file input", "waits for input; how long is up to the other side", &[Io], &[]),
];

/// The table, in its order.
pub fn patterns() -> Vec<IdlePattern> {
    let pattern = |&(name, why, classes, functions): &Row| IdlePattern {
        name: Cow::Borrowed(name),
        why: Cow::Borrowed(why),
        classes: Cow::Borrowed(classes),
        functions: functions.iter().map(|&(place, name)| FunctionAt::new(place, name)).collect(),
    };
    TABLE.iter().map(pattern).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_says_what_and_why_and_by_what_it_is_known() {
        for p in patterns() {
            assert!(!p.name.is_empty() && !p.why.is_empty());
            assert!(
                !p.classes.is_empty() || !p.functions.is_empty(),
                "{} matches everything",
                p.name
            );
        }
    }

    #[test]
    fn main_on_a_lock_is_not_idle() {
        let main = patterns().into_iter().find(|p| p.name == "main goroutine").unwrap();
        assert!(
            !main.classes.contains(&WaitClass::Lock)
                && !main.classes.contains(&WaitClass::ChanSend)
        );
    }
}

//! The command line: arguments in, one JSON object out. What each mode does is in its own module; README.md is the
//! contract with the scripts that run this.
#![deny(unsafe_code)]

mod bpf_objects;
mod bulk;
mod connect;
mod error;
mod half_open;
mod hold;
mod latency;
mod memcached;
mod request_response;
mod serve;
mod sys;
mod wait;
mod watchdog;

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::error::Error;

#[derive(Parser)]
#[command(name = "slimfast-bench", version, about = "Load generators and their server; see tools/bench/README.md")]
struct Arguments {
    /// Run on this CPU only.
    #[arg(long, global = true)]
    cpu: Option<u16>,
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// Serve all the other modes on one port.
    Serve {
        /// Port to listen on; 0 chooses one.
        #[arg(long)]
        port: u16,
        /// Address to listen on; the wildcard of the family unless given.
        #[arg(long)]
        address: Option<IpAddr>,
        /// 4, or 6 for a dual-stack listener.
        #[arg(long, default_value = "4", value_parser = ["4", "6"])]
        family: String,
        /// Length of the accept queue.
        #[arg(long, default_value_t = 4096)]
        backlog: u16,
        /// Close each connection as soon as it is accepted.
        #[arg(long)]
        accept_only: bool,
    },
    /// Time of connection setup.
    Connect {
        #[arg(long)]
        to: SocketAddr,
        /// Connections that are measured.
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
        count: u32,
        /// Threads that connect at the same time.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
        concurrency: u16,
        /// Connections before those that are measured.
        #[arg(long, default_value_t = 100)]
        warmup: u32,
        /// With O_NONBLOCK: connect() returns at once, and poll() says when the connection is there.
        #[arg(long)]
        nonblocking: bool,
        /// Send nothing, and wait for the server to close the connection: for `serve --accept-only`.
        #[arg(long)]
        until_closed: bool,
    },
    /// Time of a round trip on an established connection.
    Rr {
        #[arg(long)]
        to: SocketAddr,
        /// Round trips that are measured.
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
        count: u32,
        /// Bytes of the request, and of the response.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
        size: u32,
        /// Round trips before those that are measured.
        #[arg(long, default_value_t = 100)]
        warmup: u32,
    },
    /// Throughput.
    Bulk {
        #[arg(long)]
        to: SocketAddr,
        /// How long to send.
        #[arg(long, value_parser = parse_seconds)]
        seconds: Duration,
        /// Connections that send at the same time.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
        flows: u16,
        /// The server sends.
        #[arg(long)]
        reverse: bool,
    },
    /// Load for memcached, SET:GET 1:10.
    Memcached {
        #[arg(long)]
        to: SocketAddr,
        /// How long to ask.
        #[arg(long, value_parser = parse_seconds)]
        seconds: Duration,
        /// Clients that ask at the same time, each one request after the other.
        #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
        clients: u16,
        /// Bytes of a value.
        #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
        size: u32,
        /// Each request on a connection of its own.
        #[arg(long)]
        connection_per_request: bool,
    },
    /// Connect until something listens.
    Wait {
        #[arg(long)]
        to: SocketAddr,
        /// How long to try.
        #[arg(long, default_value = "15", value_parser = parse_seconds)]
        seconds: Duration,
    },
    /// Keep connections open until stdin ends.
    Hold {
        #[arg(long)]
        to: SocketAddr,
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
        count: u32,
        /// End them with RST, so that none stays in TIME_WAIT.
        #[arg(long)]
        reset: bool,
    },
    /// Memory that the kernel takes for connections that do nothing: both ends, on one machine.
    Idle {
        #[arg(long)]
        to: SocketAddr,
        /// Connections that are measured.
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
        count: u32,
    },
    /// Send SYNs and wait for no answer; keep the sockets until stdin ends.
    HalfOpen {
        #[arg(long)]
        to: SocketAddr,
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
        count: u32,
    },
    /// Keep run-time statistics of BPF programs, and print them at once and for each line on stdin.
    BpfStats {
        /// A process that holds the programs.
        #[arg(long = "pid", required = true)]
        pids: Vec<u32>,
        /// Directory of the cgroup whose sockets show what the statistics cost.
        #[arg(long)]
        cgroup: PathBuf,
    },
    /// Count the entries of BPF maps.
    BpfMaps {
        /// A process that holds the maps.
        #[arg(long = "pid", required = true)]
        pids: Vec<u32>,
    },
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if !(0.01..=3600.0).contains(&seconds) {
        return Err("must be from 0.01 to 3600".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Prints the one object. Flushed at once: readers of `serve` and `hold` wait for it.
fn print<T: serde::Serialize>(object: &T) -> Result<(), Error> {
    let line = serde_json::to_string(object).map_err(|error| Error::Output(error.into()))?;
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).map_err(Error::Output)
}

fn run(arguments: Arguments) -> Result<(), Error> {
    sys::raise_descriptor_limit();
    if let Some(cpu) = arguments.cpu {
        sys::run_on_cpu(cpu).map_err(Error::system("sched_setaffinity"))?;
    }
    match arguments.mode {
        Mode::Serve { port, address, family, backlog, accept_only } => {
            let wildcard =
                if family == "6" { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
            let server =
                serve::Server::listen(SocketAddr::new(address.unwrap_or(wildcard), port), backlog, accept_only)?;
            print(&server.ready()?)?;
            server.run()
        }
        Mode::Connect { to, count, concurrency, warmup, nonblocking, until_closed } => {
            print(&connect::run(connect::Load { to, nonblocking, until_closed }, count, concurrency, warmup)?)
        }
        Mode::Rr { to, count, size, warmup } => print(&request_response::run(to, count, size, warmup)?),
        Mode::Bulk { to, seconds, flows, reverse } => print(&bulk::run(to, seconds, flows, reverse)?),
        Mode::Memcached { to, seconds, clients, size, connection_per_request } => {
            print(&memcached::run(memcached::Load {
                to,
                duration: seconds,
                clients,
                value_bytes: size,
                connection_per_request,
            })?)
        }
        Mode::Wait { to, seconds } => print(&wait::run(to, seconds)?),
        Mode::Hold { to, count, reset } => {
            let held = hold::open(to, count)?;
            if reset {
                held.reset_at_the_end()?;
            }
            print(&held.report)?;
            held.until_stdin_ends()
        }
        Mode::Idle { to, count } => print(&hold::measure_idle(to, count)?),
        Mode::HalfOpen { to, count } => {
            let half_open = half_open::open(to, count)?;
            print(&half_open.report)?;
            half_open.until_stdin_ends()
        }
        Mode::BpfStats { pids, cgroup } => bpf_objects::Statistics::start(&pids, &cgroup)?.report_on_request(print),
        Mode::BpfMaps { pids } => print(&bpf_objects::maps(&pids)?),
    }
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("slimfast-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

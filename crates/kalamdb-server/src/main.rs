//! The server: assembles the house, opens its door, and closes it again.
//!
//! The port is opened before the data, so that a mistake in either is told in one line before anything was changed;
//! clients that come in between wait. What goes wrong ends the process with a status other than 0 and one readable
//! line on stderr.

#![forbid(unsafe_code)]

mod configuration;
mod first_start;

use configuration::Configuration;
use kalamdb_core::{Database, Options};
use kalamdb_pgwire::{Port, Stop, Tls};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Gives memory back to the system and scales over threads; the C library's does neither well.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How long connections may take for their last words once they are told to end at once.
const FAREWELL: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let outcome = Configuration::read().map_err(|error| error.to_string()).and_then(|configuration| {
        start_log(&configuration.log)?;
        // Parsing and binding recurse as deep as statements nest.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .thread_stack_size(kalamdb_core::plan::STACK_BYTES)
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| format!("cannot start the runtime: {error}"))?;
        let outcome = runtime.block_on(run(configuration));
        // What is left by now has been told to stop and did not.
        runtime.shutdown_background();
        outcome
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            let _ = writeln!(std::io::stderr(), "kalamdb-server: {message}");
            ExitCode::FAILURE
        }
    }
}

fn start_log(filter: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| format!("log: \"{filter}\" is not a filter: {error}"))?;
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
    Ok(())
}

/// Serves until a signal, then stops.
async fn run(configuration: Configuration) -> Result<(), String> {
    let tls = configuration.tls.as_ref().map(|(certificate, key)| read_tls(certificate, key)).transpose()?;
    let listen = configuration.listen;
    let port = Port::bind(listen).map_err(|error| format!("cannot listen on {listen}: {error}"))?;
    let database = open(&configuration)?;
    first_start::bootstrap(&database, &configuration.data_dir).await.map_err(|error| error.to_string())?;

    let address = port.address();
    if tls.is_none() && !address.ip().is_loopback() {
        tracing::warn!("listening on {address} without TLS: what clients send can be read on the way");
    }
    let (mut terminate, mut interrupt) = signals()?;
    let stop = Stop::default();
    let listener = port.listen().map_err(|error| format!("cannot listen on {listen}: {error}"))?;
    let mut serving =
        tokio::spawn(listener.serve(database.clone(), tls, configuration.authentication_timeout, stop.clone()));
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "listening on {address}");
    announce(&first_start::psql_command(address, &configuration.data_dir));

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        ended = &mut serving => return Err(format!("the listener ended: {ended:?}")),
    }
    tracing::info!("stopping: running transactions may finish within {} s", configuration.grace.as_secs());
    stop.gently();
    let finished = tokio::select! {
        _ = terminate.recv() => false,
        _ = interrupt.recv() => false,
        ended = tokio::time::timeout(configuration.grace, &mut serving) => ended.is_ok(),
    };
    if !finished {
        tracing::warn!("stopping at once: what runs is rolled back");
        stop.at_once();
        let _ = tokio::time::timeout(FAREWELL, &mut serving).await;
    }
    database.shutdown(FAREWELL).await;
    tracing::info!("stopped");
    Ok(())
}

fn read_tls(certificate: &Path, key: &Path) -> Result<Tls, String> {
    let read = |path: &Path| std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()));
    Tls::from_pem(&read(certificate)?, &read(key)?)
        .map_err(|error| format!("{error} ({}, {})", certificate.display(), key.display()))
}

fn open(configuration: &Configuration) -> Result<Database, String> {
    let database = Database::open(options(configuration));
    database.map_err(|error| {
        let detail = error.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
        let hint = error.hint().map(|hint| format!(". {hint}")).unwrap_or_default();
        format!("cannot open {}: {}{detail}{hint}", configuration.data_dir.display(), error.message())
    })
}

fn options(configuration: &Configuration) -> Options {
    Options {
        data_dir: configuration.data_dir.clone(),
        sessions_max: configuration.connections_max,
        memory_limit_bytes: configuration.memory_limit_bytes,
        issuers: configuration.issuer.iter().cloned().collect(),
        system_login_from: configuration.system_login_from.clone(),
        accept_log_damage: configuration.accept_log_damage,
        ..Options::default()
    }
}

fn signals() -> Result<(Signal, Signal), String> {
    let handler = |kind| signal(kind).map_err(|error| format!("cannot handle signals: {error}"));
    Ok((handler(SignalKind::terminate())?, handler(SignalKind::interrupt())?))
}

/// The one thing that goes to stdout. Nobody may be reading it.
fn announce(command: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "\nKalamDB is ready. Connect with:\n\n    {command}\n");
    let _ = out.flush();
}

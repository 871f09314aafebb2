use std::{net::Ipv4Addr, num::NonZeroUsize, process::Command};

use tollgate::lifecycle::Phase;

use super::*;
use crate::bench::{
    floor::Floor,
    keys::{Demand, Keys, Mix},
    limits::Rule,
};
use wire::{Answer, Kind};

fn args(to: Target) -> LoadArgs {
    LoadArgs {
        to,
        connections: 2,
        concurrency: 5,
        keys: Keys::Uniform(100),
        mix: Mix::Half,
        descriptors: 4,
        warm_up_ms: 20,
        measure_ms: 200,
        rate: None,
        most: None,
        seed: 3,
        service_pid: Some(std::process::id()),
        redis_pid: Vec::new(),
        redis: Vec::new(),
    }
}

/// Against a floor in this process.
fn against_a_floor(edit: impl FnOnce(&mut LoadArgs)) -> Sample {
    let floor = Floor::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), NonZeroUsize::MIN).unwrap();
    let (addr, lifecycle) = (floor.addr(), floor.lifecycle());
    let served = std::thread::spawn(move || floor.serve());
    let mut args = args(Target::Rls(addr));
    edit(&mut args);
    let sample = run(&args);
    lifecycle.advance_to(Phase::Ended);
    served.join().unwrap().unwrap();
    sample.unwrap()
}

#[test]
fn a_closed_loop_gets_an_answer_to_each_request() {
    // Not this process: the threads of other tests end, and take their time with them. It ends by itself, too.
    let mut busy = Command::new("sh")
        .args(["-c", "i=0; while [ $i -lt 9000000 ]; do i=$((i+1)); done"])
        .spawn()
        .unwrap();
    let sample = against_a_floor(|args| args.service_pid = Some(busy.id()));
    busy.kill().unwrap();
    busy.wait().unwrap();
    assert!(sample.ok > 100, "{sample:?}");
    assert_eq!((sample.over, sample.errors, sample.unanswered), (0, 0, 0));
    assert!(sample.limited.abs_diff(sample.ok - sample.limited) <= 10, "half: {sample:?}");
    assert!(sample.p50_us > 0.0 && sample.p99_us >= sample.p50_us && sample.p999_us >= sample.p99_us);
    assert!(sample.service_cpu_us.unwrap() > 0.0 && sample.resident_kib.unwrap() > 0);
}

#[test]
fn an_open_loop_asks_as_often_as_it_was_told() {
    let sample = against_a_floor(|args| {
        args.rate = Some(500.0);
        args.measure_ms = 1_000;
    });
    let asked = sample.per_second();
    assert!((350.0..650.0).contains(&asked), "{asked} a second");
}

#[test]
fn a_load_of_so_many_requests_ends_after_them() {
    let sample = against_a_floor(|args| {
        args.most = Some(1_000);
        args.warm_up_ms = 0;
        args.measure_ms = 30_000;
    });
    assert!(sample.seconds < 20.0, "{sample:?}");
    assert!((900..=1_000).contains(&sample.ok), "{sample:?}");
}

#[test]
fn a_request_is_one_that_a_protobuf_decoder_reads_back() {
    use prost::Message as _;
    let mut wire = rls::Rls::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), body::Form::RateLimit, 4);
    let mut out = Vec::new();
    wire.ask(Demand { key: 1, rule: Rule::Open(0), second: None }, &mut out);
    out.clear();
    wire.ask(Demand { key: 1_234_567, rule: Rule::Once, second: None }, &mut out);
    // Headers: 9 + 6; then the data's head, then the message's.
    let message = tollgate::pb::RateLimitRequest::decode(&out[9 + 6 + 9 + 5..]).unwrap();
    assert_eq!((message.domain.as_str(), message.descriptors.len()), ("bench", 4));
    for (descriptor, route) in message.descriptors.iter().zip(["once", "open1", "open2", "open3"]) {
        assert_eq!(descriptor.entries[0].value, route);
        assert_eq!(descriptor.entries[1].value, "k1234567");
    }
}

#[test]
fn a_request_for_a_pair_of_keys_has_a_rule_and_a_key_for_each() {
    use prost::Message as _;
    let mut wire = rls::Rls::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), body::Form::RateLimit, 2);
    let mut out = Vec::new();
    wire.ask(Demand { key: 1, rule: Rule::Open(0), second: None }, &mut out);
    out.clear();
    wire.ask(Demand { key: 12, rule: Rule::Open(0), second: Some((7, Rule::Ten)) }, &mut out);
    let message = tollgate::pb::RateLimitRequest::decode(&out[9 + 6 + 9 + 5..]).unwrap();
    for (descriptor, [route, key]) in
        message.descriptors.iter().zip([["open0", "k0000012"], ["ten", "k0000007"]])
    {
        assert_eq!(
            (&descriptor.entries[0].value[..], &descriptor.entries[1].value[..]),
            (route.as_bytes(), key.as_bytes())
        );
    }
}

#[test]
fn an_answer_is_told_by_its_first_field_and_its_absence_is_an_error() {
    let mut wire = rls::Rls::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), body::Form::RateLimit, 1);
    let mut input = Vec::new();
    for (stream, code) in [(1, 1), (3, 2)] {
        input.extend_from_slice(&[0, 0, 7, 0, 0, 0, 0, 0, stream, 0, 0, 0, 0, 2, 8, code]);
    }
    // Headers that end the stream at once, as tonic answers an error.
    input.extend_from_slice(&[0, 0, 1, 1, 5, 0, 0, 0, 5, 0x88]);
    let whole = input.len();
    // And half a frame.
    input.extend_from_slice(&[0, 0, 7, 0]);
    let mut answers = Vec::new();
    assert_eq!(wire.read(&input, &mut Vec::new(), &mut answers), Ok(whole));
    let expected = [(0, Kind::Ok), (1, Kind::OverLimit), (2, Kind::Error)];
    assert_eq!(answers, expected.map(|(number, kind)| Answer { number, kind }));
}

#[test]
fn a_check_is_one_that_a_protobuf_decoder_reads_back_and_its_answer_is_told() {
    use prost::Message as _;
    for (form, headers) in [(body::Form::Check, 1), (body::Form::CheckForBrowser, 15)] {
        let mut wire = rls::Rls::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), form, 1);
        let mut out = Vec::new();
        wire.ask(Demand { key: 1, rule: Rule::Open(0), second: None }, &mut out);
        out.clear();
        wire.ask(Demand { key: 1_234_567, rule: Rule::Once, second: None }, &mut out);
        let message = tollgate::pb::auth::CheckRequest::decode(&out[9 + 6 + 9 + 5..]).unwrap();
        let attributes = message.attributes.unwrap();
        assert_eq!(attributes.context_extensions["route"], "once");
        let lines = attributes.request.unwrap().http.unwrap().header_map.unwrap().headers;
        assert_eq!((lines.len(), &lines[headers - 1].raw_value[..]), (headers, &b"k1234567"[..]));

        let mut input = vec![0, 0, 7, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 2, 10, 0];
        input.extend_from_slice(&[0, 0, 9, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 4, 10, 2, 8, 8]);
        let mut answers = Vec::new();
        wire.read(&input, &mut Vec::new(), &mut answers).unwrap();
        let kinds: Vec<Kind> = answers.iter().map(|answer| answer.kind).collect();
        assert_eq!(kinds, [Kind::Ok, Kind::OverLimit]);
    }
}

#[test]
fn a_count_above_the_limit_is_over_it() {
    let mut wire = incrby::Incrby::new(1);
    let mut out = Vec::new();
    (0..3).for_each(|_| wire.ask(Demand { key: 0, rule: Rule::Once, second: None }, &mut out));
    assert!(String::from_utf8_lossy(&out).starts_with("*3\r\n$6\r\nINCRBY\r\n"));
    let mut answers = Vec::new();
    let replies = b":1\r\n:1\r\n:2\r\n:1\r\n-ERR no\r\n";
    assert_eq!(wire.read(replies, &mut Vec::new(), &mut answers), Ok(replies.len()));
    let kinds: Vec<Kind> = answers.iter().map(|answer| answer.kind).collect();
    assert_eq!(kinds, [Kind::Ok, Kind::OverLimit]);
}

#[test]
fn what_is_asked_of_a_load_process_is_what_it_reads() {
    use clap::Parser;
    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        args: LoadArgs,
    }
    let to = Target::Incrby(SocketAddr::from((Ipv4Addr::LOCALHOST, 9)));
    let args = LoadArgs { rate: Some(12.5), most: Some(7), redis_pid: vec![4, 5], ..args(to) };
    let words = args.command_line();
    let typed = Typed::try_parse_from(&words).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(format!("{:?}", typed.args), format!("{args:?}"));
}

#[test]
fn a_target_elsewhere_is_refused() {
    assert!("rls=192.0.2.1:80".parse::<Target>().is_err());
    assert!("rls=127.0.0.1:80".parse::<Target>().is_ok());
}

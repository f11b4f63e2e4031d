use super::score::{log2, mix, score};
use super::*;

fn weighted() -> Rendezvous {
    Rendezvous::new([("a", 1), ("b", 2), ("c", 4), ("d", 7), ("e", 1)]).unwrap()
}

fn digest(function: DigestFunction, contents: &str) -> Digest {
    Digest::of(InstanceName::empty(), function, contents.as_bytes())
}

#[test]
fn logarithms_and_scores_are_those_of_buildbarn() {
    for (number, logarithm, light, heavy) in [
        (0, 0, 1024, 7168),
        (1, 0, 1024, 7168),
        (2, 0x1_0000, 1040, 7281),
        (3, 0x1_95c0, 1050, 7350),
        (5, 0x2_526a, 1062, 7437),
        (10, 0x3_526a, 1080, 7560),
        (100, 0x6_a4d4, 1142, 7998),
        (12_345, 0xd_9774, 1300, 9100),
        (99_999, 0x10_9c0f, 1382, 9680),
        (1 << 32, 0x20_0000, 2048, 14_336),
        (1 << 63, 0x3f_0000, 65_536, 458_752),
        ((1 << 63) + 1, 0x3f_0000, 65_536, 458_752),
        (0x0123_4567_89ab_cdef, 0x38_2faa, 8387, 58_710),
        (0xdead_beef_cafe_babe, 0x3f_cc7e, 325_721, 2_280_052),
        (u64::MAX - 1, 0x3f_ffff, 4_294_967_296, 30_064_771_072),
        (u64::MAX, 0x3f_ffff, 4_294_967_296, 30_064_771_072),
    ] {
        assert_eq!(log2(number), logarithm, "{number}");
        let scored = |weight: u64| (weight << 32) / ((64 << 16) - log2(number));
        assert_eq!((scored(1), scored(7)), (light, heavy), "{number}");
    }
}

#[test]
fn the_score_is_that_of_the_mixed_number() {
    // The number is mixed into 1, whose logarithm is 0.
    assert_eq!(score(0, 7), 7168);
    let mixed = 0x5692_161d_100b_05e5;
    assert_eq!(score(1, 3), (3 << 32) / ((64 << 16) - log2(mixed)));
}

#[test]
fn powers_of_two_have_exact_logarithms() {
    for exponent in 0..64_u64 {
        assert_eq!(log2(1 << exponent), exponent << 16);
    }
}

#[test]
#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "the numbers are small")]
fn logarithms_are_right_to_a_hundred_thousandth() {
    for number in 2..100_000_u64 {
        let exact = (number as f64).log2();
        let error = (log2(number) as f64 / 65536.0 - exact) / exact;
        assert!(error.abs() < 1e-5, "{number}: {error}");
    }
}

#[test]
fn numbers_are_mixed_as_buildbarn_mixes_them() {
    for (number, mixed) in [
        (0, 0),
        (1, 0x5692_161d_100b_05e5),
        (2, 0xdbd2_3897_3a2b_148a),
        (0x8b1a_9953_c461_1296, 0xe5b7_fb80_2233_5f37),
        (u64::MAX, 0xb4d0_55fc_f2cb_bd7b),
    ] {
        assert_eq!(mix(number), mixed);
    }
}

#[test]
fn the_hash_of_a_key_is_the_beginning_of_its_sha256() {
    for (key, hash) in [
        ("a", 0xca97_8112_ca1b_bdca),
        ("b", 0x3e23_e816_0039_594a),
        ("c", 0x2e7d_2c03_a950_7ae2),
        ("d", 0x18ac_3e73_43f0_1689),
        ("e", 0x3f79_bb7b_435b_0532),
        ("0", 0x5fec_eb66_ffc8_6f38),
        ("1", 0x6b86_b273_ff34_fce1),
        ("shard0", 0xda2a_e8ba_219c_9179),
        ("", 0xe3b0_c442_98fc_1c14),
    ] {
        assert_eq!(hash_of(key), hash, "{key}");
    }
}

#[test]
fn shards_are_chosen_as_by_buildbarn() {
    let shards = weighted();
    let first: Vec<_> = (0..20).map(|number| shards.select(number)).collect();
    assert_eq!(first, [3, 2, 0, 3, 3, 3, 0, 0, 1, 3, 0, 3, 1, 2, 2, 2, 3, 3, 1, 3]);
    let mut counts = [0; 5];
    let numbers: Vec<_> = (0..100_000).collect();
    for index in shards.select_all(&numbers) {
        counts[index] += 1;
    }
    // The counts of ten million are checked by the bench `sharding`.
    assert_eq!(counts, [6740, 13_138, 27_012, 46_481, 6629]);
}

#[test]
fn digests_of_all_functions_are_placed_by_the_beginning_of_their_hash() {
    let (two, three) = (Rendezvous::new([("0", 1), ("1", 1)]), Rendezvous::new([("0", 1), ("1", 1), ("2", 1)]));
    let topologies = [weighted(), two.unwrap(), three.unwrap()];
    for (function, contents, number, expected) in [
        (DigestFunction::Sha256, "", 0xe3b0_c442_98fc_1c14, [1, 0, 0]),
        (DigestFunction::Sha256, "Hello", 0x185f_8db3_2271_fe25, [2, 0, 2]),
        (DigestFunction::Sha256, "Hello world", 0x64ec_88ca_00b2_68e5, [3, 1, 1]),
        (DigestFunction::Md5, "Hello", 0x8b1a_9953_c461_1296, [2, 0, 2]),
        (DigestFunction::Sha1, "Hello", 0xf7ff_9e8b_7bb2_e09b, [2, 1, 1]),
    ] {
        let digest = digest(function, contents);
        assert_eq!(Rendezvous::number_of(&digest), number);
        assert_eq!(topologies.each_ref().map(|topology| topology.select(number)), expected, "{digest}");
        let other = digest.with_instance_name(InstanceName::new("some/name").unwrap());
        assert_eq!(Rendezvous::number_of(&other), number);
    }
}

#[test]
fn removing_a_shard_moves_only_its_own_blobs_and_order_does_not_matter() {
    let all = [("a", 1), ("b", 2), ("c", 4), ("d", 7), ("e", 1)];
    let whole = weighted();
    for (removed, _) in all {
        let mut rest: Vec<_> = all.into_iter().filter(|(key, _)| *key != removed).collect();
        rest.reverse();
        let fewer = Rendezvous::new(rest.clone()).unwrap();
        for number in 0..10_000 {
            let (before, _) = all[whole.select(number)];
            let (after, _) = rest[fewer.select(number)];
            assert!(before == removed || before == after, "{number} moved from {before} to {after}");
        }
    }
}

#[test]
fn shards_that_cannot_be_told_apart_or_chosen_are_refused_by_name() {
    let refused = |shards: &[(&str, u32)]| Rendezvous::new(shards.iter().copied()).unwrap_err().to_string();
    assert_eq!(refused(&[]), "there are no shards; at least one is needed");
    assert_eq!(refused(&[("a", 1), ("b", 0)]), "shard \"b\" has weight 0; the minimum is 1");
    assert_eq!(refused(&[("a", 1), ("b", 1), ("a", 2)]), "two shards have the key \"a\"");
}

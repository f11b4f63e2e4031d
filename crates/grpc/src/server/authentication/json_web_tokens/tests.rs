use std::time::Duration;

use blobaccess_testkit::ManualClock;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
    RSA_PSS_SHA512, RsaEncoding, RsaKeyPair, RsaPublicKeyComponents,
};
use serde_json::json;

use super::*;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A pair of keys that signs tokens.
enum Signer {
    Rsa(RsaKeyPair),
    Ecdsa(EcdsaKeyPair, &'static str),
    Ed25519(Ed25519KeyPair),
}

impl Signer {
    fn rsa() -> Self {
        // The library makes no RSA keys. This one was made for these tests and is used nowhere else.
        Self::Rsa(RsaKeyPair::from_pkcs8(include_bytes!("rsa_key_of_tests.der")).unwrap())
    }

    fn ecdsa(algorithm: &'static EcdsaSigningAlgorithm, curve: &'static str) -> Self {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self::Ecdsa(EcdsaKeyPair::from_pkcs8(algorithm, pair.as_ref(), &random).unwrap(), curve)
    }

    fn p256() -> Self {
        Self::ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256")
    }

    fn p384() -> Self {
        Self::ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384")
    }

    fn ed25519() -> Self {
        let pair = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::Ed25519(Ed25519KeyPair::from_pkcs8(pair.as_ref()).unwrap())
    }

    /// Returns the public key.
    fn key(&self) -> Value {
        match self {
            Self::Rsa(pair) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({"kty": "RSA", "n": encode(&public.n), "e": encode(&public.e), "use": "sig"})
            }
            Self::Ecdsa(pair, curve) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                json!({"kty": "EC", "crv": curve, "x": encode(x), "y": encode(y)})
            }
            Self::Ed25519(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key().as_ref())}),
        }
    }

    fn named_key(&self, id: &str) -> Value {
        let mut key = self.key();
        key["kid"] = id.into();
        key
    }

    fn sign(&self, header: &Value, payload: &Value) -> String {
        let signed = format!("{}.{}", encode(header.to_string().as_bytes()), encode(payload.to_string().as_bytes()));
        let (random, message) = (SystemRandom::new(), signed.as_bytes());
        let signature = match self {
            Self::Rsa(pair) => {
                let encoding: &dyn RsaEncoding = match header["alg"].as_str() {
                    Some("RS384") => &RSA_PKCS1_SHA384,
                    Some("RS512") => &RSA_PKCS1_SHA512,
                    Some("PS256") => &RSA_PSS_SHA256,
                    Some("PS384") => &RSA_PSS_SHA384,
                    Some("PS512") => &RSA_PSS_SHA512,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(encoding, &random, message, &mut signature).unwrap();
                signature
            }
            Self::Ecdsa(pair, _) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        };
        format!("{signed}.{}", encode(&signature))
    }
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn keys(keys: &[Value]) -> JsonWebKeys {
    JsonWebKeys::from_json(&json!({ "keys": keys }).to_string()).unwrap()
}

/// Returns the name of the caller, or the reason of the refusal.
async fn ask(tokens: &JsonWebTokens, headers: &[&str]) -> Result<String, String> {
    let mut request = http::Request::builder();
    for header in headers {
        request = request.header("authorization", *header);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    match tokens.authenticate(&RequestParts::new(&parts)).await {
        Ok(identity) => Ok(identity.caller.unwrap().name().to_owned()),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unauthenticated);
            Err(error.message().to_owned())
        }
    }
}

async fn ask_with(tokens: &JsonWebTokens, token: &str) -> Result<String, String> {
    ask(tokens, &[&format!("Bearer {token}")]).await
}

#[tokio::test]
async fn every_algorithm_is_taken_with_the_right_key_only() {
    let signers = [
        (Signer::rsa(), ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"].as_slice()),
        (Signer::p256(), &["ES256"]),
        (Signer::p384(), &["ES384"]),
        (Signer::ed25519(), &["EdDSA"]),
    ];
    let all: Vec<_> = signers.iter().map(|(signer, _)| signer.key()).collect();
    let all = JsonWebTokens::new(keys(&all));
    for (signer, algorithms) in &signers {
        for algorithm in *algorithms {
            let token = signer.sign(&json!({"alg": algorithm, "typ": "JWT"}), &json!({"sub": "ci"}));
            assert_eq!(ask_with(&all, &token).await, Ok("ci".to_owned()), "{algorithm}");
            for (other, _) in &signers {
                let tokens = JsonWebTokens::new(keys(&[other.key()]));
                let is_right = other.key() == signer.key();
                assert_eq!(ask_with(&tokens, &token).await.is_ok(), is_right, "{algorithm}");
            }
            // A single bit of the signed text, and of the signature.
            for at in [0, token.find('.').unwrap() + 2, token.rfind('.').unwrap() + 9] {
                let mut damaged = token.clone().into_bytes();
                damaged[at] = if damaged[at] == b'A' { b'B' } else { b'A' };
                ask_with(&all, &String::from_utf8(damaged).unwrap()).await.unwrap_err();
            }
        }
        // The key decides, not the token.
        for algorithm in ["none", "None", "", "HS256", "ES512", "RS1", "ES256K"] {
            let token = signer.sign(&json!({"alg": algorithm}), &json!({"sub": "ci"}));
            ask_with(&all, &token).await.unwrap_err();
            let (signed, _) = token.rsplit_once('.').unwrap();
            ask_with(&all, &format!("{signed}.")).await.unwrap_err();
        }
    }
}

#[tokio::test]
async fn what_is_no_token_is_refused() {
    let signer = Signer::ed25519();
    let tokens = JsonWebTokens::new(keys(&[signer.key()]));
    let (header, payload) = (json!({"alg": "EdDSA"}), json!({"sub": "ci"}));
    let good = signer.sign(&header, &payload);
    assert_eq!(ask(&tokens, &[]).await.unwrap_err(), "no bearer token was sent");
    assert_eq!(ask(&tokens, &["Basic abc", &good]).await.unwrap_err(), "no bearer token was sent");
    let many = good.clone() + ".a";
    for bad in ["", "a", "a.b", "a.b.c", "..", "é", many.as_str(), &good[..good.len() - 1]] {
        ask_with(&tokens, bad).await.unwrap_err();
    }
    for (header, payload) in [
        (json!({}), payload.clone()),
        (json!([]), payload.clone()),
        (json!({"alg": 1}), payload.clone()),
        (json!({"alg": "EdDSA", "kid": 1}), payload.clone()),
        (json!({"alg": "EdDSA", "crit": ["exp"]}), payload.clone()),
        (header.clone(), json!([])),
        (header.clone(), json!(null)),
        (header.clone(), json!({})),
        (header.clone(), json!({"sub": ""})),
        (header.clone(), json!({"sub": "ci", "exp": "soon"})),
    ] {
        let token = signer.sign(&header, &payload);
        ask_with(&tokens, &token).await.expect_err(&format!("{header} {payload}"));
    }
    let huge = signer.sign(&header, &json!({"sub": "ci", "padding": "a".repeat(20_000)}));
    assert!(ask_with(&tokens, &huge).await.unwrap_err().contains("the maximum is 16384"));
    let deep = encode(header.to_string().as_bytes()) + "." + &encode("[".repeat(9000).as_bytes());
    ask_with(&tokens, &format!("{deep}.AAAA")).await.unwrap_err();
    // A good token behind bad ones, up to a limit.
    let good = format!("bearer  {good}");
    assert_eq!(ask(&tokens, &["Basic abc", "Bearer a.b.c", &good]).await, Ok("ci".to_owned()));
    let mut headers = vec!["Bearer a.b.c"; 8];
    headers.push(&good);
    ask(&tokens, &headers).await.unwrap_err();
}

#[tokio::test]
async fn a_token_that_names_its_key_is_tried_with_that_one() {
    let (old, new) = (Signer::p256(), Signer::p256());
    let tokens = JsonWebTokens::new(keys(&[old.named_key("old"), new.named_key("new")]));
    let sign = |signer: &Signer, id: Value| signer.sign(&json!({"alg": "ES256", "kid": id}), &json!({"sub": "ci"}));
    ask_with(&tokens, &sign(&old, json!("old"))).await.unwrap();
    ask_with(&tokens, &sign(&new, json!("new"))).await.unwrap();
    ask_with(&tokens, &sign(&new, json!(null))).await.unwrap();
    ask_with(&tokens, &sign(&new, json!("old"))).await.unwrap_err();
    ask_with(&tokens, &sign(&new, json!("newer"))).await.unwrap_err();
    // A key without a name is tried only with tokens that name none.
    let tokens = JsonWebTokens::new(keys(&[old.key()]));
    ask_with(&tokens, &sign(&old, json!(""))).await.unwrap_err();
    ask_with(&tokens, &sign(&old, json!(null))).await.unwrap();
}

#[tokio::test]
async fn a_token_is_good_from_its_first_to_before_its_last_second() {
    let (signer, clock) = (Signer::ed25519(), Arc::new(ManualClock::new()));
    let tokens = JsonWebTokens::new(keys(&[signer.key()])).with_clock(Arc::<ManualClock>::clone(&clock));
    let start = clock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let times = |claims: Value| signer.sign(&json!({"alg": "EdDSA"}), &claims);
    let token = times(json!({"sub": "ci", "nbf": start + 10, "exp": start + 20}));
    for _ in 0..2 {
        assert_eq!(ask_with(&tokens, &token).await.unwrap_err(), "token is not valid yet");
    }
    clock.advance(Duration::from_secs(11));
    for _ in 0..2 {
        assert_eq!(ask_with(&tokens, &token).await, Ok("ci".to_owned()));
    }
    assert_eq!(tokens.snapshot().remembered_tokens, 1);
    clock.advance(Duration::from_secs(10));
    for _ in 0..2 {
        assert_eq!(ask_with(&tokens, &token).await.unwrap_err(), "token has expired");
    }
    for extreme in [json!(0), json!(-1), json!(-1e300), json!(i64::MIN)] {
        assert_eq!(
            ask_with(&tokens, &times(json!({"sub": "a", "exp": extreme}))).await.unwrap_err(),
            "token has expired"
        );
        ask_with(&tokens, &times(json!({"sub": "a", "nbf": extreme}))).await.unwrap();
    }
    for extreme in [json!(1e300), json!(i64::MAX), json!(u64::MAX)] {
        ask_with(&tokens, &times(json!({"sub": "a", "exp": extreme}))).await.unwrap();
        ask_with(&tokens, &times(json!({"sub": "a", "nbf": extreme}))).await.unwrap_err();
    }
}

#[tokio::test]
async fn tokens_are_remembered_up_to_a_limit_and_forgotten_with_their_keys() {
    let signer = Signer::ed25519();
    let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let tokens = JsonWebTokens::new(keys(&[signer.key()])).with_remembered_tokens(2).with_identity(move |claims| {
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        identify_subject(claims)
    });
    let token = |name: &str| signer.sign(&json!({"alg": "EdDSA"}), &json!({ "sub": name }));
    let asked = || asked.load(std::sync::atomic::Ordering::Relaxed);
    for name in ["a", "b", "a", "b"] {
        ask_with(&tokens, &token(name)).await.unwrap();
    }
    assert_eq!(asked(), 2);
    ask_with(&tokens, &token("c")).await.unwrap();
    assert_eq!((asked(), tokens.snapshot().remembered_tokens), (3, 2));
    ask_with(&tokens, &token("b")).await.unwrap();
    assert_eq!(asked(), 3, "the one that was used least recently was forgotten");
    ask_with(&tokens, &token("")).await.unwrap_err();
    assert_eq!(tokens.snapshot().remembered_tokens, 2, "a refused token takes no place");
    tokens.replace_keys(JsonWebKeys::default());
    assert_eq!((tokens.snapshot().keys, tokens.snapshot().remembered_tokens), (0, 0));
    ask_with(&tokens, &token("b")).await.unwrap_err();

    let tokens = JsonWebTokens::new(keys(&[signer.key()])).with_remembered_tokens(0);
    ask_with(&tokens, &token("a")).await.unwrap();
    assert_eq!(tokens.snapshot().remembered_tokens, 0);
}

#[test]
fn keys_that_cannot_be_used_are_told() {
    let p256 = Signer::p256();
    let with = |mut key: Value, name: &str, value: Value| {
        key[name] = value;
        key
    };
    for (key, fault) in [
        (json!(1), "is not an object"),
        (json!({}), "has no \"kty\""),
        (json!({"kty": "oct", "k": "AAAA"}), "secret keys are not supported"),
        (json!({"kty": "EC", "crv": "P-521"}), "the curve \"P-521\" is not supported"),
        (json!({"kty": "OKP", "crv": "X25519", "x": "AAAA"}), "the curve \"X25519\" is not supported"),
        (json!({"kty": "new"}), "the type \"new\" is unknown"),
        (json!({"kty": "OKP", "crv": "Ed25519"}), "has no \"x\""),
        (json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}), "\"x\" has 3 bytes, not 32"),
        (with(p256.key(), "y", p256.key()["x"].clone()), "not on the curve"),
        (with(p256.key(), "y", json!("*")), "not in Base64"),
        (with(p256.key(), "crv", json!("P-384")), "\"x\" has 32 bytes, not 48"),
        (with(p256.key(), "kid", json!(1)), "\"kid\" is not a text"),
        (with(p256.key(), "d", json!("AAAA")), "is a private key"),
        (with(Signer::rsa().key(), "n", json!(encode(&[255; 128]))), "has 1024 bits"),
        (with(Signer::rsa().key(), "n", json!("")), "has 0 bits"),
        (with(Signer::rsa().key(), "n", json!(encode(&[254; 256]))), "is not an RSA key"),
        (with(Signer::rsa().key(), "e", json!("AQ")), "is not an RSA key"),
        (with(Signer::rsa().key(), "e", json!(encode(&[3; 9]))), "is not an RSA key"),
    ] {
        let text = json!({"keys": [p256.key(), key]}).to_string();
        let error = JsonWebKeys::from_json(&text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.message().starts_with("key 1: ") && error.message().contains(fault), "{key}: {error}");
    }
    let error = JsonWebKeys::from_json(&json!({"keys": [{}, p256.named_key("a"), 1, p256.named_key("a")]}).to_string());
    let error = error.unwrap_err();
    let faults = "key 0: has no \"kty\"; key 2: is not an object; key 3: another key has the same \"kid\"";
    assert_eq!(error.message(), faults);
    for text in ["", "[]", "{\"keys\": 1}", "{"] {
        JsonWebKeys::from_json(text).unwrap_err();
    }
    for text in ["{}", "{\"keys\": null}", "{\"keys\": []}"] {
        assert!(JsonWebKeys::from_json(text).unwrap().is_empty());
    }
}

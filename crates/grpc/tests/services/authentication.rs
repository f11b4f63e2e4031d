//! Requests become callers and accounts, by tokens, certificates or closures.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use blobaccess::decorators::{Authorizer, Authorizers, Authorizing, StaticAuthorizer};
use blobaccess::{AccountName, Caller, Context, Error, ErrorKind, InstanceName, Result};
use blobaccess_grpc::services::remote_execution::action_cache_client::ActionCacheClient;
use blobaccess_grpc::{
    Authenticator, BearerTokens, CertificateName, ClientCertificates, Identity, RequestParts, ServerTls,
    ServiceOptions, Services, authenticator_fn,
};
use blobaccess_proto::remote_execution as re;
use rcgen::{CertificateParams, DnType, SanType};
use tonic::service::Routes;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity as ClientIdentity};
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::fake::Fake;
use crate::tls::Authority;
use crate::wired::{get, serve, update};

/// Lets only callers called `ci` pass, and notes who has asked.
#[derive(Debug, Default)]
struct OnlyCi(Mutex<Vec<Identity>>);

#[async_trait]
impl Authorizer for OnlyCi {
    async fn authorize(&self, ctx: &Context, instance_names: &[InstanceName]) -> Vec<Result<()>> {
        let mut identity = Identity::anonymous();
        identity.caller = ctx.caller().cloned();
        identity.account_name = ctx.account_name().cloned();
        let passes = ctx.caller().is_some_and(|caller| caller.name() == "ci");
        self.0.lock().unwrap().push(identity);
        let answer = || if passes { Ok(()) } else { Err(Error::permission_denied("only ci may put")) };
        instance_names.iter().map(|_| answer()).collect()
    }
}

impl OnlyCi {
    fn last(&self) -> Identity {
        self.0.lock().unwrap().last().cloned().unwrap()
    }
}

/// Services that anybody may read from, and that only `ci` may put into.
fn services() -> (Services, Arc<OnlyCi>) {
    let puts = Arc::new(OnlyCi::default());
    let authorizers = Authorizers::new(
        Arc::new(StaticAuthorizer::Allow),
        Arc::<OnlyCi>::clone(&puts),
        Arc::new(StaticAuthorizer::Allow),
    );
    let ac = Authorizing::new(Fake::<blobaccess::Ac>::new(), authorizers);
    (Services::new(ServiceOptions::default()).with_ac(ac), puts)
}

fn with<T>(message: T, name: &'static str, value: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(name, value.parse().unwrap());
    request
}

fn result() -> re::UpdateActionResultRequest {
    update(re::ActionResult { exit_code: 9, ..re::ActionResult::default() })
}

fn client(services: &Services) -> ActionCacheClient<Routes> {
    ActionCacheClient::new(services.routes().unwrap())
}

/// Returns the results of a put and a get with this `authorization`.
async fn put_and_get(services: &Services, authorization: Option<&str>) -> (Code, Code) {
    fn code<T>(answer: Result<T, tonic::Status>) -> Code {
        answer.map_or_else(|status| status.code(), |_| Code::Ok)
    }
    let (put, get) = match authorization {
        Some(value) => (with(result(), "authorization", value), with(get(), "authorization", value)),
        None => (Request::new(result()), Request::new(get())),
    };
    (code(client(services).update_action_result(put).await), code(client(services).get_action_result(get).await))
}

#[tokio::test]
async fn a_token_makes_a_caller_whom_stores_let_pass_or_refuse() {
    let (services, asked) = services();
    let alice = Identity::new(Caller::new("alice")).with_account_name(AccountName::new("apps"));
    let tokens = BearerTokens::new().with_token("secret of ci", Caller::new("ci")).with_token("hers", alice.clone());
    assert!(!format!("{tokens:?}").contains("secret"));
    let strict = services.clone().with_authenticator(tokens.clone());
    assert_eq!(put_and_get(&strict, Some("Bearer secret of ci")).await, (Code::Ok, Code::Ok));
    assert_eq!(asked.last(), Identity::new(Caller::new("ci")));
    assert_eq!(put_and_get(&strict, Some("bearer hers")).await, (Code::PermissionDenied, Code::Ok));
    assert_eq!(asked.last(), alice);
    let count = asked.0.lock().unwrap().len();
    for refused in [None, Some("Bearer guessed"), Some("Bearer "), Some("Basic hers"), Some("hers")] {
        assert_eq!(put_and_get(&strict, refused).await, (Code::Unauthenticated, Code::Unauthenticated), "{refused:?}");
    }
    assert_eq!(asked.0.lock().unwrap().len(), count, "no store was asked");

    let lenient = services.with_authenticator(tokens.with_anonymous());
    assert_eq!(put_and_get(&lenient, None).await, (Code::PermissionDenied, Code::Ok));
    assert_eq!(asked.last(), Identity::anonymous());
    let refused = (Code::Unauthenticated, Code::Unauthenticated);
    assert_eq!(put_and_get(&lenient, Some("Bearer guessed")).await, refused);
    assert_eq!(put_and_get(&lenient, Some("Basic hers")).await, refused);
    let mut health = HealthClient::new(lenient.routes().unwrap());
    health.check(HealthCheckRequest::default()).await.expect("health asks for no token");
}

#[tokio::test]
async fn without_an_authenticator_a_layer_in_front_says_who_it_is_and_with_one_it_does_not() {
    let (services, asked) = services();
    let named = || {
        let mut request = Request::new(result());
        request.extensions_mut().insert(Caller::new("ci"));
        request.extensions_mut().insert(AccountName::new("apps"));
        request
    };
    client(&services).update_action_result(named()).await.unwrap();
    assert_eq!(asked.last(), Identity::new(Caller::new("ci")).with_account_name(AccountName::new("apps")));
    client(&services).update_action_result(result()).await.unwrap_err();
    assert_eq!(asked.last(), Identity::anonymous());

    let anonymous = services.with_authenticator(authenticator_fn(|_| Ok(Identity::anonymous())));
    client(&anonymous).update_action_result(named()).await.unwrap_err();
    assert_eq!(asked.last(), Identity::anonymous());
}

#[tokio::test(start_paused = true)]
async fn an_authenticator_that_hangs_or_fails_ends_the_call_and_no_store_is_asked() {
    #[derive(Debug)]
    struct Hanging;

    #[async_trait]
    impl Authenticator for Hanging {
        async fn authenticate(&self, request: &RequestParts<'_>) -> Result<Identity> {
            assert!(request.method_path().ends_with("/UpdateActionResult"));
            std::future::pending().await
        }
    }

    let (services, asked) = services();
    let hanging = services.clone().with_authenticator(Hanging);
    let request = with(result(), "grpc-timeout", "5S");
    let status = client(&hanging).update_action_result(request).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    let failing = services.with_authenticator(authenticator_fn(|_| Err(Error::unavailable("no key server"))));
    let status = client(&failing).update_action_result(result()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "no key server"));
    assert!(asked.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_certificate_becomes_a_caller_by_its_subject_or_an_alternative_name() {
    let authority = Authority::new();
    let mut params = CertificateParams::new(vec!["builder-7.example.com".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::OrganizationName, "builders");
    params.distinguished_name.push(DnType::CommonName, "ci");
    params.subject_alt_names.push(SanType::URI("spiffe://example.com/ci".try_into().unwrap()));
    let shown = authority.sign(&params);
    let (certificate, key) = authority.certify("localhost");
    let tls = ServerTls::new(certificate, key).with_client_authority(&*authority.certificate_pem);
    for (name, expected) in [
        (CertificateName::CommonName, "ci"),
        (CertificateName::DnsName, "builder-7.example.com"),
        (CertificateName::Uri, "spiffe://example.com/ci"),
    ] {
        let (services, asked) = services();
        let services = services.with_tls(tls.clone()).with_authenticator(ClientCertificates::new(name));
        let server = serve(&services).await;
        let put = async |(certificate, key): &(String, String)| {
            let tls = ClientTlsConfig::new()
                .ca_certificate(Certificate::from_pem(&authority.certificate_pem))
                .identity(ClientIdentity::from_pem(certificate, key))
                .domain_name("localhost");
            let endpoint = Endpoint::from_shared(format!("https://{}", server.address)).unwrap();
            let mut client = ActionCacheClient::new(endpoint.tls_config(tls).unwrap().connect_lazy());
            client.update_action_result(result()).await
        };
        assert_eq!(put(&shown).await.is_ok(), expected == "ci", "{name:?}");
        assert_eq!(asked.last(), Identity::new(Caller::new(expected)));
        // It was certified by the same authority, and has none of the names.
        let mut nameless = CertificateParams::new(Vec::new()).unwrap();
        nameless.distinguished_name = rcgen::DistinguishedName::new();
        let status = put(&authority.sign(&nameless)).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{status}");
        server.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_asked_for_names_nobody() {
    let seen = Arc::new(Mutex::new(None));
    let noted = Arc::clone(&seen);
    let (services, _) = services();
    let services = services.with_authenticator(authenticator_fn(move |request| {
        *noted.lock().unwrap() = Some((request.peer_certificate(), request.remote_address().is_some()));
        Err(Error::new(ErrorKind::Unauthenticated, "not you"))
    }));
    let server = serve(&services).await;
    let status = ActionCacheClient::new(server.connect().await).update_action_result(result()).await.unwrap_err();
    assert_eq!(status.message(), "not you");
    assert_eq!(*seen.lock().unwrap(), Some((None, true)));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_certificate_that_nobody_has_verified_is_shown_and_names_nobody() {
    let (authority, unknown) = (Authority::new(), Authority::new());
    let (certificate, key) = authority.certify("localhost");
    let tls = ServerTls::new(certificate, key).with_requested_client_certificates();
    let seen = Arc::new(Mutex::new(None));
    let noted = Arc::clone(&seen);
    let (services, _) = services();
    let services = services.with_tls(tls).with_authenticator(authenticator_fn(move |request| {
        *noted.lock().unwrap() = Some((request.peer_certificate(), request.shown_certificates()));
        Err(Error::new(ErrorKind::Unauthenticated, "not you"))
    }));
    let server = serve(&services).await;
    let call = async |identity: Option<(String, String)>| {
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&authority.certificate_pem));
        let tls = match identity {
            Some((certificate, key)) => tls.identity(ClientIdentity::from_pem(certificate, key)),
            None => tls,
        };
        let endpoint = Endpoint::from_shared(format!("https://{}", server.address)).unwrap();
        let channel = endpoint.tls_config(tls.domain_name("localhost")).unwrap().connect_lazy();
        let status = ActionCacheClient::new(channel).update_action_result(result()).await.unwrap_err();
        assert_eq!(status.message(), "not you", "{status}");
        seen.lock().unwrap().take().unwrap()
    };
    assert_eq!(call(None).await, (None, Vec::new()));
    let (verified, shown) = call(Some(unknown.certify("anybody"))).await;
    assert_eq!((verified, shown.len()), (None, 1));
    server.stop().await.unwrap();
}

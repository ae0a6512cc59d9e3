"""The application, put together in reading order. There are no globals: everything is given."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import orjson
from flask import Flask, Request, Response, request
from flask.globals import request_ctx
from flask.sessions import NullSession, SessionInterface
from werkzeug.routing import BaseConverter, MapAdapter

from RestAPI.authentication import Authentication
from RestAPI.caller import CALLER
from RestAPI.edge import LOG_FAILURES, RULE, Edge
from RestAPI.endpoint import View
from RestAPI.entrance import REQUEST_ID, Entrance, Throttle
from RestAPI.long_answers import LongAnswers
from RestAPI.openapi import build_document
from RestAPI.passwords import Passwords
from RestAPI.problems import InternalError, as_error
from RestAPI.rate_limits import RateLimits, open_rate_limits
from RestAPI.routes.bulk import BULK, BulkRoutes
from RestAPI.routes.events import EVENTS_PATH, EventRoutes
from RestAPI.routes.holds import HOLDS_PATH, HoldRoutes
from RestAPI.routes.keys import KEYS_PATH, KeyRoutes
from RestAPI.routes.ledger import LedgerRoutes
from RestAPI.routes.notifications import (
    NOTIFICATIONS_PATH,
    READ_ALL,
    STREAM_PATH,
    NotificationRoutes,
)
from RestAPI.routes.operations import OPERATIONS_PATH, OperationRoutes
from RestAPI.routes.outside import STATIC_FOLDER, HealthRoutes, PageRoutes
from RestAPI.routes.profile import PROFILE_PATH, ProfileRoutes
from RestAPI.routes.search import SearchRoutes
from RestAPI.routes.service import ACCESS_PATH, STATUS_PATH, ServiceRoutes
from RestAPI.routes.shop import (
    AUTH_PATH,
    BUY_PATH,
    INFO_PATH,
    ITEMS_PATH,
    PRICES_PATH,
    SEND_PATH,
    ShopRoutes,
)
from RestAPI.routes.statements import StatementRoutes
from RestAPI.routes.transfers import TRANSFERS_PATH, TransferRoutes
from RestAPI.routes.wallets import WALLETS_PATH, WalletRoutes
from RestAPI.scopes import NEEDED, Guard, Needed
from RestAPI.shop import Accounts, Prices
from RestAPI.shop_errors import error_response
from RestAPI.status import MAX_POLLED_EVENTS, Status
from RestAPI.streams import Streams
from RestAPI.traced import Traced
from WalletCore.profiling import Profiler
from WalletCore.settings import Settings
from WalletCore.store import Store
from WalletCore.telemetry import get_logger
from WalletCore.tracing import NO_TRACES, Tracer

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

API = "/api/v1"


class _NoSessions(SessionInterface):
    """Nobody has a session here, so none is looked for."""

    _none = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:  # noqa: ARG002
        return self._none


class _Id(BaseConverter):
    """A part of a path that stands for an id. What is a path of its own beside ids is none, so that
    the methods of the two do not mix in an Allow header.
    """

    regex = rf"(?!(?:{READ_ALL}|{BULK})\Z)[^/]+"


class Application(Flask):
    """Flask, but for what this service does without: sessions, and URLs of several hosts.

    ``streams``: all of this process; whoever closes the store ends them before. ``profiler``: that
    of this process. ``needed``: what each endpoint, by its name, asks of its callers.
    """

    session_interface = _NoSessions()

    def __init__(
        self, streams: Streams, authentication: Authentication, limits: RateLimits
    ) -> None:
        super().__init__("RestAPI", static_folder=STATIC_FOLDER, static_url_path="/static")
        self.streams = streams
        self.profiler = Profiler()
        self.needed: dict[str, Needed] = {"static": Guard.NOTHING}
        self.open_access = authentication.ring is None
        self._authentication = authentication
        self._limits = limits

    def end_long_requests(self) -> None:
        """Let streams and a profile come to their end. Not for a signal's handler."""
        self.profiler.end()
        self.streams.end()

    def close(self) -> None:
        """End the streams, and let go of what counts requests. The store is not this one's."""
        self.profiler.end()
        self.streams.close()
        self._limits.close()

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Match by path and method alone.

        Flask works out the host and the prefix of every request first, which takes a fifth of a
        request's time. No rule here asks for them and no answer carries a full URL. Which hosts
        may be named at all, RestAPI.gate has decided before.
        """
        if request is None:
            return None
        return MapAdapter(
            self.url_map,
            server_name="",
            script_name="/",
            subdomain="",
            url_scheme="http",
            path_info=request.path,
            default_method=request.method,
        )

    def dispatch_request(self) -> ResponseReturnValue:
        """Leave the URL rule for the metrics, find out who asks, then go on as Flask does."""
        current = request_ctx.request
        if current.url_rule is not None:
            environ = current.environ
            environ[RULE] = current.url_rule.rule
            needed = self.needed[current.url_rule.endpoint]
            if needed is Guard.TOKEN:
                environ[CALLER] = self._authentication.customer(environ)
            elif needed is Guard.KEY:
                environ[CALLER] = self._authentication.caller(environ, None)
            elif not isinstance(needed, Guard):
                environ[CALLER] = self._authentication.caller(environ, needed)
        return super().dispatch_request()


def create_app(settings: Settings, store: Store, tracer: Tracer = NO_TRACES) -> Application:
    """The service on ``store``, a WSGI application that is ready to serve. ``tracer``: whom the
    requests are told; it is not closed with the application.
    """
    limits = open_rate_limits(settings)
    throttle = Throttle(settings, limits)
    authentication = Authentication(settings, store, throttle)
    app = Application(Streams(store.notifications, settings.stream_limit), authentication, limits)
    # A double slash is a path that does not exist, not a redirect.
    app.url_map.merge_slashes = False
    app.url_map.converters["default"] = _Id

    _add_money(app, settings)
    _add_told(app)
    keys = KeyRoutes(authentication.ring)
    _add(app, "POST", KEYS_PATH, keys.create_key)
    _add(app, "GET", KEYS_PATH, keys.list_keys)
    _add(app, "DELETE", f"{KEYS_PATH}/<key_id>", keys.revoke_key)
    _add_shop(app, store, authentication)
    profile = ProfileRoutes(app.profiler, settings.worker_count)
    _add(app, "GET", PROFILE_PATH, profile.get_profile)
    _without_head(app, profile.get_profile)
    _add_service(app, settings, store)

    app.register_error_handler(Exception, _answer_error)
    edge = Edge(app.wsgi_app, Entrance(settings, throttle))
    app.wsgi_app = edge  # type: ignore[method-assign]
    if tracer.on:
        app.wsgi_app = Traced(edge, tracer)  # type: ignore[method-assign]
    return app


def _add_money(app: Application, settings: Settings) -> None:
    """What moves money, and what tells how it moved."""
    wallets = WalletRoutes(settings.default_currency)
    _add(app, "POST", WALLETS_PATH, wallets.create_wallet)
    _add(app, "GET", WALLETS_PATH, wallets.list_wallets)
    _add(app, "GET", f"{WALLETS_PATH}/<wallet_id>", wallets.get_wallet)
    _add(app, "PATCH", f"{WALLETS_PATH}/<wallet_id>", wallets.change_wallet)
    _add(app, "GET", f"{WALLETS_PATH}/<wallet_id>/balance", wallets.get_balance)

    operations = OperationRoutes()
    _add(app, "POST", f"{WALLETS_PATH}/<wallet_id>/operation", operations.operate)
    _add(app, "GET", f"{WALLETS_PATH}/<wallet_id>/operations", operations.list_operations)
    _add(app, "GET", f"{OPERATIONS_PATH}/<operation_id>", operations.get_operation)
    _add(app, "POST", f"{OPERATIONS_PATH}/<operation_id>/reversal", operations.reverse)

    long_answers = LongAnswers(settings.threads)
    bulk = BulkRoutes(long_answers)
    _add(app, "POST", f"{OPERATIONS_PATH}/{BULK}", bulk.by_content_type())

    transfers = TransferRoutes()
    _add(app, "POST", TRANSFERS_PATH, transfers.transfer)
    _add(app, "GET", f"{TRANSFERS_PATH}/<transfer_id>", transfers.get_transfer)

    holds = HoldRoutes()
    _add(app, "POST", f"{WALLETS_PATH}/<wallet_id>/holds", holds.place_hold)
    _add(app, "GET", f"{WALLETS_PATH}/<wallet_id>/holds", holds.list_holds)
    _add(app, "GET", f"{HOLDS_PATH}/<hold_id>", holds.get_hold)
    _add(app, "POST", f"{HOLDS_PATH}/<hold_id>/capture", holds.capture_hold)
    _add(app, "POST", f"{HOLDS_PATH}/<hold_id>/void", holds.void_hold)

    _add(app, "GET", OPERATIONS_PATH, SearchRoutes().search_operations)

    statements = StatementRoutes(long_answers)
    _add(app, "GET", f"{WALLETS_PATH}/<wallet_id>/statement", statements.get_statement)


def _add_told(app: Application) -> None:
    """The ledger as a whole, the log, and what people are told of it."""
    _add(app, "GET", f"{API}/ledger/trial-balance", LedgerRoutes().trial_balance)

    events = EventRoutes()
    _add(app, "GET", EVENTS_PATH, events.list_events)
    _add(app, "POST", EVENTS_PATH, events.send_message)
    _add(app, "GET", f"{EVENTS_PATH}/<event_id>", events.get_event)
    _add(app, "PUT", f"{EVENTS_PATH}/<event_id>", events.set_message_status)

    notifications = NotificationRoutes(app.streams)
    _add(app, "GET", NOTIFICATIONS_PATH, notifications.list_notifications)
    _add(app, "GET", STREAM_PATH, notifications.stream_notifications)
    _add(app, "POST", f"{NOTIFICATIONS_PATH}/{READ_ALL}", notifications.mark_all_read)
    _add(app, "GET", f"{NOTIFICATIONS_PATH}/<notification_id>", notifications.get_notification)
    _add(app, "POST", f"{NOTIFICATIONS_PATH}/<notification_id>/read", notifications.mark_read)


def _add_service(app: Application, settings: Settings, store: Store) -> None:
    """Who asks, how the service is doing, and what lies outside of the API."""
    status = Status(settings, lambda: store.condition(MAX_POLLED_EVENTS))
    service = ServiceRoutes(status, settings.default_currency)
    _add(app, "GET", ACCESS_PATH, service.get_access)
    _add(app, "GET", STATUS_PATH, service.get_status)

    health = HealthRoutes(store)
    _add(app, "GET", "/ping", health.ping)
    _add(app, "GET", "/health/live", health.live)
    _add(app, "GET", "/health/ready", health.ready)
    _add(app, "GET", "/metrics", health.metrics)

    # The document describes what was added so far; the pages for people are not part of the API.
    pages = PageRoutes(orjson.dumps(build_document(app, store.currencies)))
    _add(app, "GET", "/openapi.json", pages.openapi)
    _add(app, "GET", "/asyncapi.yaml", pages.asyncapi)
    _add(app, "GET", "/", pages.console)
    _add(app, "GET", "/docs", pages.docs)
    _add(app, "GET", "/shop", pages.shop)


def _add_shop(app: Application, store: Store, authentication: Authentication) -> None:
    """The merch shop, and its administration."""
    prices = Prices(store)
    shop = ShopRoutes(authentication, Accounts(store, Passwords()), prices)
    _add(app, "POST", AUTH_PATH, shop.log_in)
    _add(app, "GET", INFO_PATH, shop.get_info)
    _add(app, "GET", PRICES_PATH, shop.get_prices)
    _add(app, "POST", SEND_PATH, shop.send_coin)
    _add(app, "GET", BUY_PATH, shop.buy)
    _without_head(app, shop.buy)
    _add(app, "GET", ITEMS_PATH, shop.list_items)
    _add(app, "PUT", f"{ITEMS_PATH}/<item>", shop.set_price)


def _add(app: Application, method: str, rule: str, view: View) -> None:
    """Serve ``view`` at ``rule``; HEAD comes with GET. Raises KeyError if nothing says to whom."""
    app.needed[view.__name__] = NEEDED[method, rule]
    app.add_url_rule(rule, view.__name__, view, methods=[method], provide_automatic_options=False)


def _without_head(app: Application, view: View) -> None:
    """What a GET changes, a HEAD must not."""
    for rule in app.url_map.iter_rules(view.__name__):
        if rule.methods is not None:
            rule.methods.discard("HEAD")


def _answer_error(raised: Exception) -> Response:
    """The one place where an exception becomes an answer."""
    error = as_error(raised)
    if isinstance(error, InternalError):
        request_id: Any = request.environ.get(REQUEST_ID)
        with suppress(*LOG_FAILURES):
            get_logger().error("request_failed", request_id=request_id, exc_info=raised)
    return error_response(error, request.path, raised)

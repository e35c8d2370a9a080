"""Runs the public suite irctest (https://github.com/progval/irctest) against `sotong chat`.

    PYTHONPATH=tests/irctest:CHECKOUT pytest --controller sotong -c CHECKOUT/pytest.ini CHECKOUT/irctest/server_tests

The program is what SOTONG names, or else target/debug/sotong. `.ci/irctest` runs the whole suite. With SOTONG_LOG=DIR what
each server says on standard error is kept there.
"""

import copy
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from irctest.basecontrollers import BaseServerController, DirectoryBasedController
from irctest.specifications import Capabilities, OptionalBehaviors

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("SOTONG", str(ROOT / "target" / "debug" / "sotong"))
LOGS = os.environ.get("SOTONG_LOG")

OPERATOR = ("operuser", "operpassword")

# Cases that need a setting of their own change a tree of settings which has these names, whatever server runs.
SETTINGS = {
    "server": {
        "listeners": {},
        "casemapping": "ascii",
        "proxy-allowed-from": ["127.0.0.1", "::1"],
    },
    "accounts": {
        "default-user-modes": "",
        "multiclient": {"enabled": True, "allowed-by-default": True, "always-on": "opt-in"},
        "registration": {"enabled": True},
    },
    "history": {"enabled": True, "chathistory-maxmessages": 100, "znc-maxmessages": 2048},
}


def toml(value):
    """A value as TOML writes it. JSON's strings are TOML's basic strings."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml(one) for one in value) + "]"
    if isinstance(value, int):
        return str(value)
    return json.dumps(str(value), ensure_ascii=False)


class SotongController(BaseServerController, DirectoryBasedController):
    software_name = "Sotong"
    _port_wait_interval = 0.01
    supported_sasl_mechanisms = {"PLAIN", "SCRAM-SHA-256"}
    supports_sts = True
    extban_mute_char = "m"
    # Everything that is optional and that we have: a case that finds one of them missing fails instead of being skipped.
    capabilities = frozenset(
        one for one in Capabilities if one not in (Capabilities.STS, Capabilities.MESSAGE_REDACTION)
    )
    optional_behaviors = frozenset(one for one in OptionalBehaviors if one != OptionalBehaviors.NON_UTF8_MESSAGE)
    isupport = {
        "BOT": "B",
        "CASEMAPPING": "ascii",
        "ELIST": "CMNTU",
        "INVEX": None,
        "MONITOR": "100",
        "PREFIX": "(qaohv)~&@%+",
        "STATUSMSG": "~&@%+",
        "UTF8ONLY": None,
        "WHOX": None,
    }

    def run(
        self,
        hostname,
        port,
        *,
        password,
        ssl,
        run_services,
        faketime,
        websocket_hostname=None,
        websocket_port=None,
    ):
        self.create_config()
        self.port = port
        self._password = password or ""
        self._websocket = (websocket_hostname, websocket_port) if websocket_port else None
        self._faketime = faketime
        if ssl:
            self.gen_ssl()
        settings = copy.deepcopy(SETTINGS)
        settings["server"]["listeners"][f"127.0.0.1:{port}"] = (
            {"tls": {"cert": str(self.pem_path), "key": str(self.key_path)}} if ssl else None
        )
        if self.test_config.ergo_config:
            self.test_config.ergo_config(settings)
        self._use(settings)
        self._start()

    def _use(self, settings):
        """Writes the configuration file for these settings."""
        self._settings = settings
        server, accounts = settings["server"], settings["accounts"]
        blocks = [
            (
                "server",
                {
                    "name": "My.Little.Server",
                    "network": "Example",
                    "description": "test server",
                    "password": self._password,
                    "proxy_allowed_from": server["proxy-allowed-from"],
                    "default_user_modes": accounts["default-user-modes"],
                    "relaymsg": True,
                    "roleplay": self.test_config.ergo_roleplay,
                },
            )
        ]
        for address, listener in server["listeners"].items():
            keys = {"address": address, "kind": "auto"}
            keys.update(self._listener(listener or {}))
            blocks.append(("[listen]", keys))
        if self._websocket:
            keys = {"address": "{}:{}".format(*self._websocket), "kind": "websocket"}
            blocks.append(("[listen]", keys))
        blocks += [
            (
                "accounts",
                {
                    "register": True,
                    "register_before_connect": self.test_config.account_registration_before_connect,
                    "email_required": self.test_config.account_registration_requires_email,
                    "multiclient": accounts["multiclient"]["enabled"],
                    "always_on": accounts["multiclient"]["always-on"],
                    "password_hash_cost": "test",
                    "login_attempts": 3,
                },
            ),
            (
                "history",
                {
                    "enabled": settings["history"]["enabled"],
                    "chathistory_max": settings["history"]["chathistory-maxmessages"],
                    "znc_max": settings["history"]["znc-maxmessages"],
                    "store_tagmsg": ["+draft/persist", "+persist"],
                },
            ),
            ("limits", {"flood_control": False, "connections_per_address": 0, "new_connections_per_address": 0}),
            ("[oper]", {"name": OPERATOR[0], "password": OPERATOR[1], "class": "admin"}),
        ]
        lines = [f"data_dir = {toml(self.directory / 'data')}"]
        for name, keys in blocks:
            lines += ["", f"[{name}]"] + [f"{key} = {toml(value)}" for key, value in keys.items()]
        (self.directory / "chat.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")

    @staticmethod
    def _listener(listener):
        if listener.get("proxy"):
            yield "proxy", True
        if "tls" in listener:
            yield "tls_cert", listener["tls"]["cert"]
            yield "tls_key", listener["tls"]["key"]

    def _start(self):
        command = [PROGRAM, "chat", "--config", str(self.directory / "chat.toml")]
        if self._faketime and shutil.which("faketime"):
            command = ["faketime", "-f", self._faketime, *command]
            self.faketime_enabled = True
        options = {}
        if LOGS and not self.debug_mode:
            Path(LOGS).mkdir(parents=True, exist_ok=True)
            case = os.environ.get("PYTEST_CURRENT_TEST", "server").split("::", 1)[-1].split(" ")[0]
            name = "".join(c if c.isalnum() else "_" for c in case)
            options["stderr"] = open(Path(LOGS) / (name + ".log"), "a")
        self.proc = self.execute(command, **options)

    def restart(self):
        self.kill_proc()
        self.port_open = False
        self._start()
        self.wait_for_port()

    def wait_for_services(self):
        """They are part of the server."""

    def getConfig(self):
        return copy.deepcopy(self._settings)

    def rehash(self, case, config):
        self._use(config)
        client = "rehasher"
        case.connectClient(nick=client, name=client)
        case.sendLine(client, "OPER {} {}".format(*OPERATOR))
        case.sendLine(client, "REHASH")
        case.getMessages(client)
        case.sendLine(client, "QUIT")
        case.assertDisconnected(client)

    def registerUser(self, case, username, password=None):
        if not case.run_services:
            raise ValueError("the case registers somebody and does not ask for services")
        client = case.addClient(show_io=False)
        for line in ("CAP LS 302", f"NICK {username}", "USER u 0 * :user", "CAP END"):
            case.sendLine(client, line)
        while case.getRegistrationMessage(client).command != "001":
            pass
        case.getMessages(client)
        case.sendLine(client, f"NS REGISTER {password}")
        answer = case.getMessage(client)
        assert answer.params == [username, "Account created"], answer
        case.sendLine(client, "QUIT")
        case.assertDisconnected(client)


def get_irctest_controller_class():
    return SotongController

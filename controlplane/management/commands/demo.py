"""`manage.py demo seed | history | waiting | trigger | tokens | connect | open | links`: the demo, from the command line."""

import os
import time
import webbrowser
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from controlplane.demo import border, links, own_agent, playing, scene, seeding, stories, tokens, waiting
from controlplane.demo.scene import Scene
from controlplane.management import plain


class Command(plain.Plain):
    help = "The demo organisation: build it, see what waits, start its stories, show its tokens."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        seed = verbs.add_parser("seed", help="build what is missing; nothing when all is there")
        seed.add_argument("--again", action="store_true", help="also after somebody removed the demo")
        verbs.add_parser("history", help="play what is left of the month before, beside a running Remit")
        show = verbs.add_parser("waiting", help="the requests that wait for a person")
        show.add_argument("--json", action="store_true")
        trigger = verbs.add_parser("trigger", help="start a story; a worker plays it")
        trigger.add_argument("story", choices=sorted(stories.BY_NAME))
        trigger.add_argument("--wait", action="store_true", help="until it ended or waits for people, and say how")
        verbs.add_parser("tokens", help="personal tokens of the demo's people")
        verbs.add_parser("connect", help="a key for an agent of your own, and what to paste")
        verbs.add_parser("open", help="a fresh link into the console, opened in the browser")
        verbs.add_parser("links", help="fresh one-time links into the console")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            dsn = border.check()
            VERBS[options["verb"]](self, dsn, options)
        except (border.NotHere, playing.Stuck) as no:
            raise CommandError(str(no)) from no

    def seed(self, dsn: str, options: Mapping[str, Any]) -> None:
        began = time.monotonic()
        done = seeding.seed(dsn, again=options["again"])
        said = [f"{scene.NAME} was built"] if done.is_new else []
        said += [f"{done.runs} runs were played"] if done.runs else []
        said += [f"asked people: {request.title}" for each in done.opened for request in each.waiting]
        said += [f"no refund waits: {each.state} {each.summary}" for each in done.opened if not each.waiting]
        self.say(f"Demo: {'; '.join(said) or 'all there'} ({time.monotonic() - began:.1f} s)")

    def history(self, _dsn: str, _options: Mapping[str, Any]) -> None:
        os.nice(10)
        began = time.monotonic()
        self.say(f"Demo: {seeding.remember()} runs of the past were played ({time.monotonic() - began:.1f} s)")

    def waiting(self, _dsn: str, options: Mapping[str, Any]) -> None:
        made = scene.find()
        found = waiting.listed(made) if made else []
        if options["json"]:
            return self.say_json({"requests": [asdict(each) for each in found], "links": links.fresh(made) if made and found else {}})
        return self.say(*(f"{each.id}  {each.title}  ({each.expires_in_s // 60} min left)" for each in found))

    def trigger(self, dsn: str, options: Mapping[str, Any]) -> None:
        made = _there()
        run = stories.start(made, stories.BY_NAME[options["story"]](made, dsn))
        self.say(f"{run.id}  {run.title}")
        for each in playing.carry_on(made, [run.id], work=playing.leave_it) if options["wait"] else ():
            self.say(f"{each.state}  {each.summary}".rstrip())
            self.say(*(f"{asked.id}  {asked.title}  ({asked.required} to sign: {' '.join(asked.reasons)})" for asked in each.waiting))

    def connect(self, _dsn: str, _options: Mapping[str, Any]) -> None:
        made = _there()
        connected = own_agent.connect(made)
        self.say(f"{own_agent.SLUG}  {'registered, ' if connected.is_new else ''}read-only until somebody raises its stage")
        self.say(f"Watch it  {settings.PUBLIC_URL}/{scene.SLUG}/{scene.DESK}/agents/{own_agent.SLUG}")
        self.say(f"Key       {connected.key}   shown once, for {own_agent.LASTS.days} days", "")
        self.say(*own_agent.snippets(settings.PUBLIC_URL, connected.key))

    def open(self, _dsn: str, _options: Mapping[str, Any]) -> None:
        address = settings.PUBLIC_URL + next(iter(links.fresh(_there()).values()))
        self.say(address)
        webbrowser.open(address)

    def links(self, _dsn: str, _options: Mapping[str, Any]) -> None:
        self.say(*(f"{view:<9} {settings.PUBLIC_URL}{address}" for view, address in links.fresh(_there()).items()))

    def tokens(self, _dsn: str, _options: Mapping[str, Any]) -> None:
        self.say(*(f"{name:<7} {scene.CAST[name]:<9} {token}" for name, token in tokens.keep(_there()).items()))


def _there() -> Scene:
    made = scene.find()
    if made is None:
        raise border.NotHere("There is no demo yet: manage.py demo seed")
    return made


VERBS: Mapping[str, Callable[[Command, str, Mapping[str, Any]], None]] = {
    "seed": Command.seed,
    "history": Command.history,
    "waiting": Command.waiting,
    "trigger": Command.trigger,
    "connect": Command.connect,
    "open": Command.open,
    "tokens": Command.tokens,
    "links": Command.links,
}

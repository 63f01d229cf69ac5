"""Every address of the product but the hot ones, which `asgi` serves: /api/v1/calls, /api/v1/calls/{id} and /mcp."""

from csp.decorators import csp_update
from django.urls import URLPattern, URLResolver, include, path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from controlplane import health
from controlplane.api import agents, approvals, audit, budgets, connectors, errors, keys, members, policies, runs, stops, tools
from controlplane.api.routing import at
from controlplane.console import agents as pages_agents
from controlplane.console import approvals as pages_approvals
from controlplane.console import audit as pages_audit
from controlplane.console import budgets as pages_budgets
from controlplane.console import caps as pages_caps
from controlplane.console import cast, kit, onlookers, preferences, saved, signin
from controlplane.console import connect as pages_connect
from controlplane.console import explaining as pages_explaining
from controlplane.console import first_steps as pages_first_steps
from controlplane.console import frame as pages_frame
from controlplane.console import health as pages_health
from controlplane.console import jumps as pages_jumps
from controlplane.console import keys as pages_keys
from controlplane.console import members as pages_members
from controlplane.console import overview as pages_overview
from controlplane.console import permissions as pages_permissions
from controlplane.console import policies as pages_policies
from controlplane.console import runs as pages_runs
from controlplane.console import stops as pages_stops
from controlplane.console import tools as pages_tools
from controlplane.console import whocan as pages_whocan
from controlplane.docs import doors as handbook

# The viewer's own styles and pictures; it is the only page that needs either.
_docs = csp_update({"style-src": ["'unsafe-inline'"], "img-src": ["data:"]})(SpectacularSwaggerSplitView.as_view(url_name="schema"))

api: list[URLPattern | URLResolver] = [
    path("runs", at(GET=runs.listed, POST=runs.start)),
    path("runs/<str:identifier>", at(GET=runs.show)),
    path("runs/<str:identifier>/calls", at(GET=runs.calls)),
    path("runs/<str:identifier>/steps", at(GET=runs.steps)),
    path("runs/<str:identifier>/finish", at(POST=runs.finish)),
    path("approvals", at(GET=approvals.listed)),
    path("approvals/decide", at(POST=approvals.decide)),
    path("approvals/<str:identifier>", at(GET=approvals.show)),
    path("approvals/<str:identifier>/votes", at(POST=approvals.vote)),
    path("approvals/<str:identifier>/send-back", at(POST=approvals.send_back)),
    path("approvals/<str:identifier>/claim", at(POST=approvals.claim)),
    path("approvals/<str:identifier>/unclaim", at(POST=approvals.unclaim)),
    path("approvals/<str:identifier>/hand-over", at(POST=approvals.hand_over)),
    path("approvals/<str:identifier>/extend", at(POST=approvals.extend)),
    path("approvals/<str:identifier>/check", at(POST=approvals.check)),
    path("approvals/<str:identifier>/withdraw", at(POST=approvals.withdraw)),
    path("approvals/<str:identifier>/comments", at(POST=approvals.comment)),
    path("approval-terms", at(PUT=approvals.terms)),
    path("denials", at(GET=approvals.standing)),
    path("denials/<str:identifier>/lift", at(POST=approvals.lift)),
    path("budgets", at(GET=budgets.listed)),
    path("budgets/<str:level>/<str:subject>", at(PUT=budgets.put)),
    path("raises", at(GET=budgets.raises)),
    path("raises/<str:identifier>/agree", at(POST=budgets.agree)),
    path("raises/<str:identifier>/decline", at(POST=budgets.decline)),
    path("raise-threshold", at(PUT=budgets.put_threshold)),
    path("prices", at(GET=budgets.price_list)),
    path("prices/<path:item>", at(PUT=budgets.price)),
    path("audit", at(GET=audit.listed)),
    path("audit/export", at(GET=audit.export)),
    path("audit/<str:identifier>", at(GET=audit.show)),
    path("stops", at(GET=stops.listed, POST=stops.engage)),
    path("stops/<str:identifier>/release", at(POST=stops.release)),
    path("connectors", at(GET=connectors.listed, POST=connectors.register)),
    path("connectors/<str:slug>/discover", at(POST=connectors.discover)),
    path("tools", at(GET=tools.listed)),
    path("tools/<str:name>/confirm", at(POST=tools.confirm)),
    path("tools/<str:name>/retire", at(POST=tools.retire)),
    path("directory", at(POST=tools.load)),
    path("policies", at(GET=policies.listed, POST=policies.propose)),
    path("policies/<str:identifier>", at(GET=policies.show)),
    path("policies/<str:identifier>/activate", at(POST=policies.activate)),
    path("agents", at(GET=agents.listed, POST=agents.register)),
    path("agents/<str:slug>", at(GET=agents.show, PATCH=agents.change)),
    path("agents/<str:slug>/versions", at(POST=agents.publish)),
    path("agents/<str:slug>/keys", at(GET=agents.keys, POST=agents.issue)),
    path("agents/<str:slug>/limits", at(PUT=agents.limit)),
    path("keys/<str:identifier>/revoke", at(POST=keys.revoke)),
    path("capabilities/<str:identifier>/revoke", at(POST=keys.revoke_capability)),
    path("members", at(GET=members.listed, POST=members.add)),
    path("members/<str:identifier>/roles", at(PUT=members.put_roles)),
    path("members/<str:identifier>/deactivate", at(POST=members.deactivate)),
    path("workspaces", at(GET=members.workspaces)),
    path("schema", SpectacularAPIView.as_view(), name="schema"),
    path("docs", _docs, name="api-docs"),
    re_path(r"[\s\S]*", errors.not_there),  # a line break, too, is no way out to a page
]
console: list[URLPattern | URLResolver] = [
    path("approvals", pages_approvals.listed),
    path("approvals/together/<str:key>", pages_approvals.batch),
    path("approvals/together/<str:key>/decide", pages_approvals.decide),
    path("approvals/onlookers", onlookers.listed),
    path("approvals/<str:identifier>", pages_approvals.detail),
    path("approvals/<str:identifier>/rule", pages_approvals.rule),
    path("approvals/<str:identifier>/<slug:verb>", pages_approvals.act),
    path("overview", pages_overview.page),
    path("demo/ask", pages_first_steps.ask),
    path("demo/hide", pages_first_steps.hide),
    path("demo/remove", pages_first_steps.leaving),
    path("demo/removed", pages_first_steps.remove),
    path("demo/<str:story>", pages_first_steps.play),
    path("go", pages_jumps.go),
    path("frame", pages_frame.fragment),
    path("views/save", saved.save),
    path("views/<str:identifier>/remove", saved.remove),
    path("agents", pages_agents.listed),
    path("register/export", pages_agents.export),
    path("agents/<str:slug>", pages_agents.detail),
    path("agents/<str:slug>/change", pages_agents.change),
    path("agents/<str:slug>/publish", pages_agents.publish),
    path("agents/<str:slug>/owner", pages_agents.owner),
    path("agents/<str:slug>/keys", pages_keys.issue),
    path("agents/<str:slug>/keys/<str:identifier>/roll", pages_keys.roll),
    path("agents/<str:slug>/keys/<str:identifier>/revoke", pages_keys.revoke),
    path("tools", pages_tools.listed),
    path("tools/<str:name>", pages_tools.detail),
    path("tools/<str:name>/confirm", pages_tools.confirm),
    path("tools/<str:name>/retire", pages_tools.retire),
    path("connect", pages_connect.show),
    path("connect/key", pages_connect.issue),
    path("runs", pages_runs.listed),
    path("runs/export", pages_runs.export),
    path("runs/<str:identifier>", pages_runs.detail),
    path("runs/<str:identifier>/report", pages_runs.report),
    path("runs/<str:identifier>/download", pages_runs.download),
    path("runs/<str:identifier>/stop", pages_runs.stop),
    path("budgets", pages_budgets.listed),
    path("budgets/cap", pages_caps.cap),
    path("budgets/prices", pages_caps.price),
    path("budgets/zone", pages_caps.zone),
    path("budgets/two-people", pages_caps.threshold),
    path("budgets/raises/<str:identifier>/<slug:verb>", pages_caps.decide),
    path("budgets/<str:level>/<str:target>", pages_budgets.level),
    path("budgets/<str:level>/<str:target>/export", pages_budgets.export),
    path("permissions", pages_permissions.matrix),
    path("permissions/who", pages_whocan.who),
    path("permissions/cell/<str:slug>/<str:name>", pages_explaining.cell),
    path("policies", pages_policies.listed),
    path("policies/propose", pages_policies.propose),
    path("policies/<str:identifier>", pages_policies.version),
    path("policies/<str:identifier>/activate", pages_policies.activate),
    path("members", pages_members.listed),
    path("members/add", pages_members.add),
    path("members/<str:identifier>", pages_members.person),
    path("members/<str:identifier>/role", pages_members.role),
    path("members/<str:identifier>/sessions", pages_members.sign_out),
    path("members/<str:identifier>/remove", pages_members.remove),
    path("health", pages_health.show),
    path("audit", pages_audit.listed),
    path("audit/export", pages_audit.export),
    path("audit/<str:identifier>", pages_audit.entry),
    path("stops", pages_stops.listed),
    path("stops/form", pages_stops.form),
    path("stops/preview", pages_stops.preview),
    path("stops/engage", pages_stops.engage),
    path("stops/<str:identifier>", pages_stops.show),
    path("stops/<str:identifier>/release", pages_stops.release),
]
urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("metrics", health.metrics),
    path("api/v1/", include(api)),
    path("accounts/again/", signin.again),
    path("accounts/", include("allauth.account.urls")),
    re_path(r"^docs/?$", handbook.contents),
    path("docs/search", handbook.search),
    path("docs/<slug:section>/<slug:name>", handbook.page),
    path("", signin.home, name="home"),
    path("start/<str:code>", signin.start),
    path("theme", preferences.theme),
    path("keys", preferences.keys),
    path("demo/as", cast.take),
    path("go/<str:identifier>", pages_jumps.anywhere),
    path("workspaces", pages_jumps.workspaces),
    path("ui-kit", kit.show),
    path("<slug:tenant>/<slug:workspace>/", include(console)),
]

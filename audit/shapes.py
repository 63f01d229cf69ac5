"""What secrets look like: shapes that give themselves away, and places where a secret is written down. Data only; redaction.py reads it.

Shapes follow the formats the issuers publish. RE2 syntax over bytes; where a shape has a group, the group is the secret.
"""

import re

# name -> pattern. The first that matches at a place wins, so the narrow ones come first.
_TOKENS = {
    "private_key": r"-----BEGIN[ A-Z0-9_-]{0,60}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:[^-]{64,}?-----END[ A-Z0-9_-]{0,60}-----|[\sA-Za-z0-9+/=\\:,]{64,})",
    "jwt": r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]{4,})?",
    "1password": r"\bops_eyJ[A-Za-z0-9+/]{200,}={0,3}|\bA3-[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})(?:-[A-Z0-9]{5}){3}\b",
    "aws": r"\b(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b|\bABSK[A-Za-z0-9+/]{100,}={0,2}"
    r"|\bbedrock-api-key-[A-Za-z0-9+/]{40,}={0,2}",
    "azure": r"[A-Za-z0-9_~.]{3}\dQ~[A-Za-z0-9_~.-]{31,34}|\bAccountKey=[A-Za-z0-9+/]{40,}={0,2}|[?&]sig=[A-Za-z0-9%+/]{40,}={0,2}",
    "google": r"\bAIza[\w-]{35}\b|\bya29\.[\w-]{20,}|\bGOCSPX-[\w-]{20,}|\b1//0[\w-]{40,}",
    "github": r"\bgh[pousr]_[A-Za-z0-9]{36,}|\bgithub_pat_[A-Za-z0-9_]{60,}",
    "gitlab": r"\bgl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|soat|oas|ffct|rtr)-[\w.-]{20,}|\bGR1348941[\w-]{20}",
    "slack": r"\bxox[abeoprs](?:\.xox[bp])?-[A-Za-z0-9-]{16,}|\bxapp-\d-[A-Za-z0-9-]{20,}"
    r"|hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9+/]{40,}",
    "model_provider": r"\b(?:sk|pk)-(?:[a-z0-9]{2,10}-){0,3}[A-Za-z0-9_-]{20,}|\bgsk_[A-Za-z0-9]{40,}|\bxai-[A-Za-z0-9]{60,}"
    r"|\bpplx-[A-Za-z0-9]{40,}|\bhf_[A-Za-z]{34}|\bapi_org_[A-Za-z]{34}|\br8_[A-Za-z0-9]{37}",
    "stripe": r"\b(?:sk|rk)_(?:test|live|prod)_[A-Za-z0-9]{10,}|\bwhsec_[A-Za-z0-9+/]{24,}={0,2}",
    "square": r"\bEAAA[\w-]{56,64}\b|\bsq0[a-z]{3}-[\w-]{22,60}",
    "facebook": r"\bEAA[A-Za-z0-9]{80,}",
    "databricks": r"\bdapi[a-f0-9]{32}(?:-\d)?\b",
    "digitalocean": r"\bdo[oprt]_v1_[a-f0-9]{64}",
    "doppler": r"\bdp\.(?:pt|st|ct|sa|scim|audit)\.(?:[a-z0-9_-]{2,35}\.)?[A-Za-z0-9]{40,44}",
    "fly": r"\bfo1_[\w-]{43}|\bfm[12][ar]?_[A-Za-z0-9+/]{100,}={0,3}",
    "grafana": r"\bglc_[A-Za-z0-9+/]{32,}={0,3}|\bglsa_[A-Za-z0-9]{32}_[A-Fa-f0-9]{8}|\beyJrIjoi[A-Za-z0-9+/]{60,}={0,3}",
    "hashicorp": r"\b[A-Za-z0-9]{14}\.atlasv1\.[\w=-]{60,70}|\bhv[sbr]\.[\w-]{24,}",
    "package_registry": r"\bnpm_[A-Za-z0-9]{36}|\bpypi-[\w-]{60,}|\brubygems_[a-f0-9]{48}|\boy2[a-z0-9]{43}\b|\bCLOJARS_[a-z0-9]{60}",
    "sentry": r"\bsntrys_eyJ[A-Za-z0-9+/=_]{80,}|\bsntryu_[a-f0-9]{64}",
    "shopify": r"\bshp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}",
    "sourcegraph": r"\bsgp_(?:[a-fA-F0-9]{16}_|local_)?[a-fA-F0-9]{40}",
    "telegram": r"\b\d{5,16}:A[\w-]{34}\b",
    "mail": r"\bSG\.[\w-]{16,}\.[\w-]{30,}|\bxkeysib-[a-f0-9]{64}-[A-Za-z0-9]{16}|\b(?:pub)?key-[a-f0-9]{32}\b|\b[a-f0-9]{32}-us\d{1,2}\b",
    "openshift": r"\bsha256~[\w-]{43}",
    "observability": r"\bNRAK-[A-Z0-9]{27}|\bNRJS-[a-f0-9]{19}|\bNRII-[\w-]{32}|\bdt0c01\.[A-Z0-9]{24}\.[A-Z0-9]{64}",
    "saas": r"\bAPI-[A-Z0-9]{26}\b|\bPMAK-[a-f0-9]{24}-[a-f0-9]{34}|\bpul-[a-f0-9]{40}\b|\brdme_[a-z0-9]{70}|\bntn_\d{11}[A-Za-z0-9]{35}"
    r"|\bsecret_[A-Za-z0-9]{43}\b|\blin_api_[A-Za-z0-9]{40}|\bico-[A-Za-z0-9]{32}\b|\bEZ[AT]K[A-Za-z0-9]{54}|\bshippo_(?:live|test)_[a-f0-9]{40}"
    r"|\bpscale_(?:tkn|oauth|pw)_[\w=.-]{32,64}|\bpnu_[A-Za-z0-9]{36}|\btfp_[\w=.-]{59}|\bduffel_(?:test|live)_[\w=-]{43}|\bsl\.[\w=-]{130,}"
    r"|\bfio-u-[\w=-]{64}|\bsm_(?:aat|pat|sat)_[A-Za-z0-9]{16}|\bdnkey-[\w=-]{26}-[\w=-]{52}|\btk-us-[\w-]{48}|\bHRKU-AA[\w-]{58}"
    r"|\b(?:pat|sat)\.[\w-]{22}\.[a-f0-9]{24}\.[A-Za-z0-9]{20}|\b[A-Za-z0-9]{6}_[A-Za-z0-9]{29}_mmk|\bsbp_[a-f0-9]{40}|\bSK[0-9a-f]{32}\b",
    "cloud": r"\b4b1d[A-Za-z0-9]{38}\b|\bAKCp[A-Za-z0-9]{69}\b|\bcmVmd[A-Za-z0-9]{59}\b|\bLTAI[A-Za-z0-9]{20}\b|\bATATT3[\w=-]{150,}"
    r"|\bAGE-SECRET-KEY-1[A-Z0-9]{58}|\bp8e-[A-Za-z0-9]{32}\b|\bv1\.0-[a-f0-9]{24}-[a-f0-9]{146}|\bAQVN[\w-]{35,38}\b|\bs-s4t2(?:ud|af)-[a-f0-9]{64}",
}


# Where a value is cut at LONGEST, redaction.py goes on to its end: without the bound a text of half-matches would cost its square.
LONGEST = 400
# In JSON text that was cut off, the letter before a token may belong to an escape: a line break and ghp_ are \\nghp_.
_LEFT = r"(?:\b|\\[nrtbf]|\\u[0-9a-fA-F]{4})"
TOKENS = {name: re.sub(r"(^|\|)\\b", lambda found: found[1] + _LEFT, shape) for name, shape in _TOKENS.items()}

_VALUE = rf"""(?:\\*"([^"\\\r\n]{{4,{LONGEST}}})|\\*'([^'\\\r\n]{{4,{LONGEST}}})|([^\s"'`,;<>(){{}}\[\]\\&|]{{4,{LONGEST}}}))"""
_ASSIGNED = r"""(?:\\*["'`])?\s{0,8}(?:=>|:=|=|:)\s{0,8}"""
_SERVICES = (
    "sourcegraph|meraki|cohere|datadog|fastly|algolia|airtable|bitbucket|cloudflare|codecov|coinbase|etsy|okta|snyk|sumologic|zendesk"
)

# A name or a piece of syntax says that a secret follows.
PLACES: dict[str, str] = {
    "connection_string": r"://[^\s/:@\"'<>\\]{0,80}:([^\s/@\"'<>\\]{3,400})@",
    "authorization": r"(?i)\bauthorization"
    + _ASSIGNED
    + r"""(?:\\*["'])?(?:(?:basic|bearer|digest|(?:api-?)?(?:token|key))\s+)?([\w=~@.+/-]{8,400})""",
    "bearer": r"(?i)\b(?:bearer|basic)\s+([\w=~.+/-]{16,400})",
    "curl_user": r"(?:\s-u|--user)(?:=|\s{0,4})((?:\"[^\"\n]{0,80}\"|'[^'\n]{0,80}'|[^\s\"':]{0,80})"
    r":?(?:\"[^\"\n]{1,120}\"|'[^'\n]{1,120}'|[^\s\"']{1,120})?)",
    "password": r"(?i)(?:passw(?:or)?d|passphrase|passwd|\bpwd|\bpass)[\w.-]{0,16}" + _ASSIGNED + _VALUE,
    "secret": r"(?i)(?:secret|credential|api[_.-]?key|access[_.-]?key|auth[_.-]?key|"
    r"private[_.-]?key|encryption[_.-]?key|signing[_.-]?key)[\w.-]{0,16}" + _ASSIGNED + _VALUE,
    "token": r"(?i)token(?:\d{0,3}|[_.-][\w.-]{0,16})" + _ASSIGNED + _VALUE,
    "service_key": rf"(?i)\b(?:{_SERVICES})[\w.-]{{0,20}}" + _ASSIGNED + _VALUE,
}

CARD = r"\b(?:\d{13,19}|\d{4}(?:[ -]\d{4}){3}|\d{4}[ -]\d{6}[ -]\d{5})\b"

# If none of these bytes occur in the JSON text of a value, no place can be in it and no key name below.
# A line break before a token is the letter n in JSON text, so tokens are looked for without their word boundaries.
# Two backslashes and u: a string that holds JSON may spell its names with escapes.
# A number of tokens is no token: a member whose name ends in `tokens` and whose value is a number.
TRIGGER = (
    r"(?i:passw|passphrase|\bpwd|pass[\w.-]{0,16}[\"'\\\\]*\s{0,8}[:=]|secret|token(?:[^s]|s[^\"]|s\"[^:]|s\":[^0-9])|credential|api.?key|access.?key|auth.?key|private.?key"
    r"|encryption.?key|signing.?key|authorization|cookie|bearer|basic\s|cvv|cvc|otp\"|pin\"|card.?n|ccn|" + _SERVICES + ")"
    r"|://[^\s/]*@|\s-u|--user|\\\\u|\d{4}[ -]\d{4}[ -]|\d{4}[ -]\d{6}[ -]|"
    + "|".join(shape.replace(r"\b", "") for name, shape in _TOKENS.items() if name != "private_key")
)

# Digits are what most ids and times are made of, so a run of them is looked at before it counts.
LONG_NUMBER = r"\d{13}"

# Compared without case and without - _ . and spaces.
# fmt: off
KEY_NAMES = frozenset({
    "password", "passwd", "passphrase", "pwd", "secret", "secrets", "token", "apikey", "apikeys", "authorization", "proxyauthorization",
    "cookie", "setcookie", "credential", "credentials", "cvv", "cvc", "cvv2", "otp", "pin", "cardnumber", "ccnumber",
})
KEY_ENDINGS = (
    "password", "passwd", "passphrase", "secret", "apikey", "secretkey", "privatekey", "accesskey", "signingkey", "encryptionkey",
    "authkey", "accesstoken", "refreshtoken", "authtoken", "idtoken", "sessiontoken", "bearertoken", "apitoken", "usertoken", "bottoken",
    "deploytoken", "securitytoken", "registrationtoken",
)
# fmt: on

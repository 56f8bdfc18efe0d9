"""SSH configs that people write, each with what OpenSSH makes of the host ``rover``: user, address and jump hosts."""

from __future__ import annotations

from typing import NamedTuple


class Written(NamedTuple):
    """A config, and the expected ``user@address:port`` of each hop, the target's last; ``me`` is the local user.

    ``refused`` states that some versions of OpenSSH refuse the config.
    """

    text: str
    hops: tuple[str, ...] = ("me@10.0.0.5:22",)
    refused: bool = False


CONFIGS = {
    "plain": Written("Host rover\n HostName 10.0.0.5\n User bob\n Port 2222\n", ("bob@10.0.0.5:2222",)),
    "carriage-returns": Written("Host rover\r\n  HostName 10.0.0.5\r\n  User bob\r\n", ("bob@10.0.0.5:22",)),
    "comments": Written(
        "Host rover # Bob's\n HostName 10.0.0.5 # on 'wifi'\n User bob\t# me\n Port 2222 # odd\n",
        ("bob@10.0.0.5:2222",),
    ),
    "number-sign-in-a-word": Written('Host rover\n User bob#1\n HostName "10.0.0.5" #\n', ("bob#1@10.0.0.5:22",)),
    "equals": Written("Host=rover\n HostName = 10.0.0.5\n port=2222\n USER=bob\n", ("bob@10.0.0.5:2222",)),
    "quotes": Written('Host "rover" "other"\n HostName "10.0.0.5"\n User "bob"\n', ("bob@10.0.0.5:22",)),
    "token-in-the-address": Written("Host rov*\n HostName %h.lab.example\n", ("me@rover.lab.example:22",)),
    "capitals": Written("Host rover\n HostName Rover.LAB.example\n", ("me@rover.lab.example:22",)),
    "wildcards": Written("Host r?v*\n HostName 10.0.0.5\nHost *\n User bob\n", ("bob@10.0.0.5:22",)),
    "negation": Written("Host * !rover\n User eve\nHost !x rover\n HostName 10.0.0.5\n"),
    "first-value": Written("Host rover\n HostName 10.0.0.5\n User a\nHost *\n User b\n Port 1\n", ("a@10.0.0.5:1",)),
    "absent-include": Written("Host rover\n Include conf.d/only\n", ("me@rover:22",)),
    "include": Written("Include {ssh}/more\nHost rover\n User bob\n", ("bob@10.0.0.5:22",)),
    "include-in-a-block": Written(
        "Host other\n Include {ssh}/more\nHost rover\n Include {ssh}/more\n User bob\n", ("bob@10.0.0.5:22",)
    ),
    "include-in-another-block": Written("Host other\n Include {ssh}/more\n", ("me@rover:22",)),
    "match-all-include": Written("Host rover\n HostName 10.0.0.5\nMatch all\nInclude config.local\n"),
    "match-final-all": Written(
        "Host rover\n HostName 10.0.0.5\nMatch final all\n ForwardX11Trusted yes\n User bob\n", ("bob@10.0.0.5:22",)
    ),
    "match-final-host": Written(
        "Match final host *.example\n Port 77\nHost rover\n HostName rover.example\n", ("me@rover.example:77",)
    ),
    "match-host": Written("Host rover\n HostName 10.0.0.5\nMatch host 10.0.0.*\n User bob\n", ("bob@10.0.0.5:22",)),
    "match-originalhost": Written(
        "Host rover\n HostName 10.0.0.5\nMatch originalhost rover !host 10.0.0.9\n User bob\n", ("bob@10.0.0.5:22",)
    ),
    "match-user": Written(
        "Host rover\n HostName 10.0.0.5\n User bob\nMatch user bob,eve\n Port 77\n", ("bob@10.0.0.5:77",)
    ),
    "match-negated-user": Written("Match !user root,me\n Port 77\nHost rover\n HostName 10.0.0.5\n User x\n", ()),
    "match-exec": Written('Match host rover exec "test %h = rover"\n HostName 10.0.0.5\n'),
    "match-exec-false": Written('Match exec "false"\n User eve\nHost rover\n HostName 10.0.0.5\n'),
    "match-negated-exec": Written('Match !exec "false"\n User bob\n HostName 10.0.0.5\n', ("bob@10.0.0.5:22",)),
    "exec-for-another-host": Written(
        'Match originalhost other exec "true"\n User eve\nHost rover\n HostName 10.0.0.5\n'
    ),
    "tag": Written("Host rover\n HostName 10.0.0.5\n Tag lab\nMatch tagged lab\n User hil\n", (), refused=True),
    "network": Written("Match localnetwork 9.8.7.6/32\n User x\nHost rover\n HostName 10.0.0.5\n", refused=True),
    "canonical-names": Written(
        "CanonicalizeHostname yes\nCanonicalDomains lab.example\nHost *.lab.example\n User hil\n", ("me@rover:22",)
    ),
    "no-canonical-name": Written(
        "CanonicalizeHostname yes\nCanonicalDomains x.invalid\nCanonicalizeFallbackLocal no\n", (), refused=True
    ),
    "jump": Written("Host rover\n HostName 10.0.0.5\n ProxyJump j\n", ("me@j:22", "me@10.0.0.5:22")),
    "jump-with-login": Written(
        "Host rover\n HostName 10.0.0.5\n ProxyJump u@j:77\nHost j\n User x\n Port 1\n HostName gate\n",
        ("u@gate:77", "me@10.0.0.5:22"),
    ),
    "jump-uri": Written("Host rover\n ProxyJump ssh://u@j:77\n", ("u@j:77", "me@rover:22")),
    "jump-ipv6": Written("Host rover\n ProxyJump u@[fe80::1]:77\n", ("u@fe80::1:77", "me@rover:22")),
    "jump-token": Written("Host rover\n HostName r5\n ProxyJump gate-%h\n", ("me@gate-r5:22", "me@r5:22")),
    "two-jumps": Written(
        "Host rover\n ProxyJump a,b\nHost a\n ProxyJump c\nHost b\n ProxyJump d\n",
        ("me@c:22", "me@a:22", "me@b:22", "me@rover:22"),
    ),
    "jump-of-a-jump": Written(
        "Host rover\n ProxyJump a\nHost a\n ProxyJump b\nHost b\n User bob\n", ("bob@b:22", "me@a:22", "me@rover:22")
    ),
    "no-jump": Written("Host rover\n HostName 10.0.0.5\n ProxyJump None\nHost *\n ProxyJump j1\n"),
    "no-jump-for-the-jump": Written("Host j\n ProxyJump none\nHost *\n ProxyJump j\n", ("me@j:22", "me@rover:22")),
    "command-before-jump": Written("Host rover\n HostName 10.0.0.5\n ProxyCommand nc %h %p\n ProxyJump j\n"),
    "jump-before-command": Written(
        "Host rover\n HostName 10.0.0.5\n ProxyJump j\n ProxyCommand nc %h %p\n", ("me@j:22", "me@10.0.0.5:22")
    ),
    "command-none": Written("Host rover\n HostName 10.0.0.5\n ProxyCommand none\nHost *\n ProxyCommand nc %h %p\n"),
    "command-tokens": Written(
        "Host rover\n HostName 10.0.0.5\n User bob\n ProxyCommand x \"%h\" %p '%r' %n %% # $HOME ~ ${HOME}\n",
        ("bob@10.0.0.5:22",),
    ),
    "ipv6": Written("Host rover\n HostName fe80::1\n", ("me@fe80::1:22",)),
    "ipv6-zone": Written("Host rover\n HostName fe80::1%%eth0\n", ("me@fe80::1%eth0:22",)),
    "identities": Written(
        'Host rover\n HostName 10.0.0.5\n IdentityFile ~/.ssh/a\n IdentityFile "/keys/b c"\n IdentityFile /d#e\n'
        "IdentityFile /f # g\nHost *\n IdentityFile ~/.ssh/a\n IdentityFile ~daemon/x\n IdentitiesOnly yes\n"
    ),
    "identity-tokens": Written(
        "Host rover\n HostName 10.0.0.5\n User bob\n HostKeyAlias Alias\n"
        " IdentityFile /keys/%h-%p-%r-%n-%u-%i-%k-%l-%L-%%\n IdentityFile /keys/%C\n IdentityFile ${{HIL_X}}/%d\n"
        " CertificateFile ~/%r-${{HIL_X}}\n",
        ("bob@10.0.0.5:22",),
    ),
    "hash-with-jump": Written(
        "Host rover\n HostName 10.0.0.5\n ProxyJump j\n IdentityFile /keys/%C\n", ("me@j:22", "me@10.0.0.5:22")
    ),
    "identity-none": Written("Host rover\n HostName 10.0.0.5\n IdentityFile none\n"),
    "known-hosts": Written(
        "Host rover\n HostName 10.0.0.5\n HostKeyAlias Board-7\n UserKnownHostsFile /k-%h ~/.ssh/lab ${{HIL_X}}\n"
        " GlobalKnownHostsFile /etc/lab\n RevokedHostKeys /etc/gone\n HashKnownHosts yes\n StrictHostKeyChecking no\n"
    ),
    "known-hosts-with-space": Written('Host rover\n HostName 10.0.0.5\n UserKnownHostsFile "/a b/c" /d\n'),
    "unknown-keyword": Written("Host rover\n Hostnam 10.0.0.5\n", (), refused=True),
    "ignored-keyword": Written("IgnoreUnknown Hostnam\nHost rover\n Hostnam x\n HostName 10.0.0.5\n"),
    "bad-port": Written("Host rover\n Port x\n", (), refused=True),
    "open-quote": Written('Host "rover\n', (), refused=True),
    "too-many-words": Written("Host rover\n HostName a b\n", (), refused=True),
    "no-value": Written("Host rover\n HostName\n", (), refused=True),
    "no-such-variable": Written("Host rover\n UserKnownHostsFile ${{HIL_NO}}/x\n", (), refused=True),
    "bad-match": Written("Match host\n User x\n", (), refused=True),
    "include-loop": Written("Include {ssh}/config\n", (), refused=True),
}

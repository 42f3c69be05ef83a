#!/usr/bin/python3
"""cib-apply PREFIX FILE: makes the cluster's configuration (CIB) have exactly
the elements of FILE, a <configuration>, among those whose id begins with
PREFIX; all others stay. Pacemaker checks the whole first. Then only the
difference is applied, at once, so that what stays as it is goes on running."""

import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET


def run(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def canonical(element):
    return ET.canonicalize(ET.tostring(element, encoding="unicode"), strip_text=True)


def merge(configuration, wanted, prefix):
    """Puts the wanted elements into their sections, and says whether that
    changed anything."""
    changed = False
    for section in wanted:
        if configuration.find(section.tag) is None:
            ET.SubElement(configuration, section.tag)
    for section in list(configuration):
        want = {e.get("id"): e for e in (wanted.find(section.tag) if wanted.find(section.tag) is not None else [])}
        for at, element in reversed(list(enumerate(section))):
            name = element.get("id", "")
            if name in want:
                if canonical(element) != canonical(want[name]):
                    section[at] = want[name]
                    changed = True
                del want[name]
            elif name.startswith(prefix):
                section.remove(element)
                changed = True
        for element in want.values():
            section.append(element)
            changed = True
        # An empty section of this kind is not allowed.
        if section.tag == "fencing-topology" and len(section) == 0:
            configuration.remove(section)
    # A constraint goes with what it is about, whoever made it: DRBD's handler, or
    # a move by hand.
    known = {e.get("id") for e in configuration.find("resources").iter()}
    for constraint in list(configuration.find("constraints")):
        about = [constraint.get(a) for a in ("rsc", "with-rsc", "first", "then")]
        if any(name is not None and name not in known for name in about):
            configuration.find("constraints").remove(constraint)
            changed = True
    return changed


def main(prefix, path):
    wanted = ET.parse(path).getroot()
    for _ in range(5):
        query = run("cibadmin", "--query")
        if query.returncode != 0:
            sys.exit("the CIB cannot be read: " + query.stderr.strip())
        cib = ET.fromstring(query.stdout)
        if not merge(cib.find("configuration"), wanted, prefix):
            return
        with tempfile.TemporaryDirectory() as work:
            # Secrets of fence agents are in there; the folder is for root alone.
            with open(work + "/old.xml", "w") as f:
                f.write(query.stdout)
            ET.ElementTree(cib).write(work + "/new.xml", encoding="unicode")
            # The configuration alone is judged, not what has become of a host.
            for state in (cib.find("status"), cib.find("configuration/nodes")):
                if state is not None:
                    state.clear()
            # Who decides looks for SBD anew each time; what is written here is as
            # old as that host's office, perhaps of before SBD ran.
            for known in cib.findall("configuration/crm_config//nvpair[@name='have-watchdog']"):
                known.set("value", str(run("systemctl", "is-active", "sbd.service").returncode == 0).lower())
            ET.ElementTree(cib).write(work + "/judged.xml", encoding="unicode")
            verify = run("crm_verify", "-V", "--xml-file", work + "/judged.xml")
            if verify.returncode != 0:
                sys.exit(verify.stderr.strip() + "\nPacemaker refuses " + path + ", and nothing was changed")
            diff = run("crm_diff", "--no-version", "--original", work + "/old.xml", "--new", work + "/new.xml")
            if diff.returncode == 0:
                return
            if diff.returncode != 1:
                sys.exit("crm_diff: " + diff.stderr.strip())
            with open(work + "/patch.xml", "w") as f:
                f.write(diff.stdout)
            patch = run("cibadmin", "--patch", "--sync-call", "--xml-file", work + "/patch.xml")
            if patch.returncode == 0:
                print("the configuration of the cluster has changed")
                return
        # Somebody else changed the same place in between, or no host decides yet.
        time.sleep(1)
    sys.exit("the cluster did not take the change: " + patch.stderr.strip())


main(*sys.argv[1:])

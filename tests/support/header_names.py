#!/usr/bin/env python3
"""Lists what p11-kit's PKCS #11 header declares, as lines of macros for C to include.

usage: header_names.py p11-kit/pkcs11.h > p11kit_names.inc

CONSTANT(name) for each constant, inside an #ifdef, so that a file whose header lacks the name
passes over it; SIZE(type) and MEMBER(type, member) for each structure, with the standard's names.
"""

import re
import sys


def constants(text):
    names = re.findall(r'^#define\s+(CK(?:[A-Z]|_OTP)_\w+)\s+\S', text, re.M)
    return sorted(set(names))


def structures(text):
    """Yields (type, members). The header writes its own names and renames them by macros."""
    renames = dict(re.findall(r'^#define\s+([a-z]\w*)\s+(\w+)\s*$', text, re.M))
    for tag, body in re.findall(r'struct\s+(ck_\w+)\s*\{(.*?)\}', text, re.S):
        members = re.findall(r'(\w+)\s*(?:\[\d+\]\s*)?;', body)
        yield tag.upper(), [renames.get(member, member) for member in members]


def main():
    with open(sys.argv[1], encoding='utf-8') as header:
        text = re.sub(r'/\*.*?\*/', '', header.read(), flags=re.S)
    for name in constants(text):
        print(f'#ifdef {name}\nCONSTANT({name})\n#endif')
    for name, members in structures(text):
        print(f'SIZE({name})')
        for member in members:
            print(f'MEMBER({name}, {member})')


if __name__ == '__main__':
    main()

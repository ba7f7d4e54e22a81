package acl

// match reports whether s matches a glob as the engines' patterns do: "*", "?",
// "[abc]", "[^a-z]", "\" before a literal byte. The time is at most proportional
// to the product of the lengths, since after a later "*" no earlier one needs
// another try. As in the engines, an empty s matches only an empty glob.
func match(glob string, s []byte) bool {
	if len(s) == 0 {
		return glob == ""
	}
	star, from := -1, 0 // glob position behind the last "*", and where in s it ends
	g, i := 0, 0
	for i < len(s) {
		if g < len(glob) && glob[g] == '*' {
			g++
			star, from = g, i
			continue
		}
		if g < len(glob) {
			if n, ok := matchByte(glob[g:], s[i]); ok {
				g += n
				i++
				continue
			}
		}
		if star < 0 {
			return false
		}
		from++
		g, i = star, from
	}
	for g < len(glob) && glob[g] == '*' {
		g++
	}
	return g == len(glob)
}

// matchByte matches b with the first element of glob, which is not empty and
// not a "*", and returns the length of that element.
func matchByte(glob string, b byte) (int, bool) {
	switch glob[0] {
	case '?':
		return 1, true
	case '[':
		return matchClass(glob, b)
	case '\\':
		if len(glob) > 1 {
			return 2, glob[1] == b
		}
	}
	return 1, glob[0] == b
}

// matchClass matches b with the class that glob begins with. A class without
// its "]" reaches to the end.
func matchClass(glob string, b byte) (int, bool) {
	i, not, found := 1, false, false
	if i < len(glob) && glob[i] == '^' {
		not = true
		i++
	}
	for i < len(glob) && glob[i] != ']' {
		lo, hi := glob[i], glob[i]
		switch {
		case glob[i] == '\\' && i+1 < len(glob):
			i++
			lo, hi = glob[i], glob[i]
		case i+2 < len(glob) && glob[i+1] == '-':
			i += 2
			lo, hi = min(lo, glob[i]), max(lo, glob[i])
		}
		found = found || lo <= b && b <= hi
		i++
	}
	return min(i+1, len(glob)), found != not
}

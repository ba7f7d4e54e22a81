//go:build !unix

package dial

// Look cannot tell here: a client finds out that a connection is closed when it
// uses it.
func (c *Conn) Look() State { return Quiet }

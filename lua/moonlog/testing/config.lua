--- The `.busted` file of `moonlog test`.
return { default = require("moonlog.testing.run").settings }

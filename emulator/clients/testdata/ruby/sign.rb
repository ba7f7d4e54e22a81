# Prints a token signed by aws-sigv4.
#
#   ruby sign.rb SERVICE CACHE USER REGION [serverless]

require "aws-sigv4"
require "uri"

service, cache, user, region, kind = ARGV
query = {"Action" => "connect", "User" => user}
query["ResourceType"] = "ServerlessCache" if kind == "serverless"
signer = Aws::Sigv4::Signer.new(
  service: service, region: region,
  access_key_id: ENV["AWS_ACCESS_KEY_ID"], secret_access_key: ENV["AWS_SECRET_ACCESS_KEY"], session_token: ENV["AWS_SESSION_TOKEN"]
)
signed = signer.presign_url(http_method: "GET", url: "https://#{cache}/?#{URI.encode_www_form(query)}", expires_in: 900)
puts signed.to_s.delete_prefix("https://")

# A model as an AWS Lambda function: the statically linked server of ./Dockerfile and the model, and nothing else.
#
#   docker build -t corten-serve -f examples/deploy/Dockerfile .
#   docker build -t flights -f examples/deploy/lambda.Dockerfile --build-arg MODEL=flights.corten models/
FROM corten-serve AS server

FROM scratch
COPY --from=server /corten-serve /corten-serve
ARG MODEL
COPY ${MODEL} /models/
ENTRYPOINT ["/corten-serve", "--lambda", "/models"]
# The command of the server's image would name another folder.
CMD []
